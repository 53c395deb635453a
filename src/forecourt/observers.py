"""The observers of one stack: tracing, metrics and logs, one object each, built where their packages are installed.

They stand below errors and endpoint and above all that may refuse. Which endpoints each of them sees, and what it needs
to know of them, is set whenever the routes are compiled.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from forecourt.config import JobConfig, ResolvedPolicy
from forecourt.config_values import DecisionHook
from forecourt.decisions import Decision
from forecourt.errors import ConfigError
from forecourt.exchange import Exchange
from forecourt.layers.logs import Logged, LogsLayer
from forecourt.layers.metrics import UNROUTED, Counted, MetricsLayer
from forecourt.layers.tracing import HandlerSpanLayer, Inside, Traced, TracingLayer
from forecourt.policies.telemetry import Telemetry
from forecourt.redaction import without_words
from forecourt.routing import Endpoint
from forecourt.runtime import Runtime
from forecourt.stores.observed import Trips
from forecourt.telemetry.counting import Counting
from forecourt.telemetry.exposition import endpoint_of
from forecourt.telemetry.extras import METER, counter, installed
from forecourt.types import ASGIApp

if TYPE_CHECKING:
    from forecourt.telemetry.job_spans import JobSpans
    from forecourt.telemetry.structured import Tokens

logger = logging.getLogger("forecourt")

NAMES = ("tracing", "metrics", "logging")
"""The observers, outermost first: durations and lines know their trace."""

_REFRESHED_EVERY = 1.0

_USUAL = ("ok", "refused")
"""Outcomes whose durations are there from the start; the rare ones come with their first request."""

LISTENERS = "forecourt.listeners"
"""In a scope: functions that want to be told this request's decisions; tests put them there."""

Observed = Sequence[tuple[Endpoint | None, ResolvedPolicy]]


class Observers:
    """The observers of one stack, of those in `layers`; `app` is what they stand around, and becomes the outermost."""

    def __init__(self, app: ASGIApp, runtime: Runtime, trips: Trips, layers: Sequence[str]) -> None:
        self._trips = trips
        self._layers = layers
        self._runtime = runtime
        self._config = runtime.config
        wanted = {name for name in NAMES if self._is_wanted(name)}
        self._logs = self._logs_around(app) if "logging" in wanted else None
        app = self._logs or app
        self._metrics = self._metrics_around(app) if "metrics" in wanted else None
        app = self._metrics or app
        self._tracing = self._tracing_around(app) if "tracing" in wanted else None
        self.app = self._tracing or app

    def hear(self, exchange: Exchange) -> None:
        """Have the app's own hook told of this exchange's decisions."""
        hook = self._config.on_decision
        if hook is not None:
            exchange.listeners.append(partial(_tell, hook, exchange))
        exchange.listeners += exchange.scope.get(LISTENERS, ())

    def observe(self, endpoints: Observed) -> None:
        """See these endpoints from now on."""
        if self._tracing is not None:
            self._tracing.endpoints = {each: _traced(each) for each, policy in endpoints if policy.tracing}
        if self._metrics is not None:
            self._metrics.endpoints = {
                each: self._counted(each, sizes=policy.metrics.sizes) for each, policy in endpoints if policy.metrics
            }
        if self._logs is not None:
            self._logs.endpoints = {
                each: Logged(
                    each.name if each else None,
                    policy.logging.sample,
                    frozenset(name.lower().encode() for name in policy.logging.headers),
                )
                for each, policy in endpoints
                if policy.logging
            }

    def unbuilt(self) -> list[str]:
        """Return a line for each observer that the config asks for by now, and that was off everywhere at the start."""
        built = {"tracing": self._tracing, "metrics": self._metrics, "logging": self._logs}
        return [
            f"{name}: was off for all endpoints when the service started; it needs a restart"
            for name, observer in built.items()
            if observer is None and self._is_wanted(name)
        ]

    def _is_wanted(self, name: str) -> bool:
        """Tell whether an observer is in the stack, can be had, and has something to see."""
        needed = counter(name, self._config.telemetry.metrics_to)
        # A meter is asked for by name, so that its absence stops the start.
        return name in self._layers and (needed == METER or installed(needed)) and _is_used(self._config, name)

    def around_handler(self, app: ASGIApp, endpoint: Endpoint | None, policy: ResolvedPolicy | None) -> ASGIApp:
        """Return the handler's app with a span of its own, where it is to have one."""
        if self._tracing is None or endpoint is None or policy is None:
            return app
        traced = policy.tracing
        if traced is None or not traced.handler:
            return app
        return HandlerSpanLayer(app, name=endpoint.name, spans=self._tracing.spans)

    def job_spans(self, layers: Sequence[str]) -> "JobSpans | None":
        """Return where the spans of jobs come from; None where none of these layers, ours or around us, traces."""
        if "tracing" not in layers or not installed("tracing") or not _is_used(self._config, "tracing"):
            return None
        from forecourt.telemetry.job_spans import JobSpans  # noqa: PLC0415  # the extra `otel` is optional

        return JobSpans(words=self._config.telemetry.exception_messages)

    def stop(self) -> None:
        """Leave nothing behind that counts on when the process is gone."""
        if self._metrics is not None:
            self._families.forget_process()

    def _tracing_around(self, app: ASGIApp) -> TracingLayer:
        from forecourt.telemetry.otel import Spans  # noqa: PLC0415  # the extra `otel` is optional

        telemetry = self._config.telemetry

        inside = Inside(app)
        server = Spans(inside, message_spans=telemetry.message_spans, words=telemetry.exception_messages)
        inside.failed = server.failed
        self._trips.listeners["tracing"] = server.trip
        self._config.statements.listen("tracing", server.spent)
        return TracingLayer(server.middleware, inside=inside, spans=server)

    def _metrics_around(self, app: ASGIApp) -> MetricsLayer:
        endpoint = endpoint_of(self._config.metrics)
        families = endpoint.families
        if families is None:
            families = endpoint.families = _families(self._config.telemetry)
            self._trips.listeners["metrics"] = families.trip
            self._runtime.config_ends["metrics"] = families.config_came
            self._config.statements.listen("metrics", families.spent)
            moved = families.moved
            self._config.breakers.listen("metrics", lambda breaker, _, __: moved(breaker.name, breaker.state))
        self._families = families
        refresh = _refreshing(families, self._runtime)
        endpoint.render = families.read_through(refresh, endpoint.asks)
        return MetricsLayer(app, _now_and_then(refresh) if families.shared else None)

    def _logs_around(self, app: ASGIApp) -> "LogsLayer[Tokens]":
        from forecourt.telemetry.structured import AccessLog, bound, unbound  # noqa: PLC0415  # `logs` is optional

        telemetry = self._config.telemetry
        return LogsLayer(app, telemetry=telemetry, log=AccessLog(telemetry), bind=bound, unbind=unbound)

    def _counted(self, endpoint: Endpoint | None, *, sizes: bool) -> Counted:
        name = endpoint.name if endpoint else UNROUTED
        path = endpoint.path if endpoint else None
        return Counted(self._families.endpoint(name, path, _USUAL), sizes, self._config.telemetry.exemplars)


def _families(telemetry: Telemetry) -> Counting:
    """Return what counts, as the config says; each needs an extra."""
    if telemetry.metrics_to == "opentelemetry":
        if not installed(METER):
            raise ConfigError("telemetry.metrics_to: \"opentelemetry\" needs it: pip install 'forecourt[otel]'")
        from forecourt.telemetry.meter import Metered  # noqa: PLC0415  # the extra `otel` is optional

        return Metered(telemetry.prefix, telemetry.buckets)
    from forecourt.telemetry.prometheus import Families  # noqa: PLC0415  # so is `metrics`

    return Families(telemetry.prefix, telemetry.buckets)


def _refreshing(families: Counting, runtime: Runtime) -> Callable[[], None]:
    """Return what writes down that which is only counted when somebody looks; it must not keep a stack alive."""

    def refresh() -> None:
        budgets = {name: budget.left for name, budget in runtime.budgets.copy().items()}
        families.holds(len(runtime.heartbeat), runtime.mismatches, budgets)
        for breaker in runtime.config.breakers:
            families.stands(breaker.name, breaker.state)

    return refresh


def _now_and_then(refresh: Callable[[], None]) -> Callable[[], None]:
    """Return the same, done at most once a second: other workers look into files."""
    done = 0.0

    def sometimes() -> None:
        nonlocal done
        now = time.monotonic()
        if now - done >= _REFRESHED_EVERY:
            done = now
            refresh()

    return sometimes


def _tell(hook: DecisionHook, exchange: Exchange, decision: Decision) -> None:
    """Tell an app's own hook; what it raises is logged and harms no request."""
    try:
        hook(exchange, decision)
    except Exception as error:  # whatever an app's function raises
        logger.error("on_decision failed: %s", type(error).__name__, exc_info=without_words(error))


def _is_used(config: JobConfig, name: str) -> bool:
    """Tell whether any endpoint may be observed so: the default says off, and no endpoint anything else."""
    policies = [config.default, *config.endpoints.values()]
    said = [getattr(policy, name) for policy in policies if policy is not None]
    return getattr(config.default, name, None) != "off" or any(each not in (None, "off") for each in said)


def _traced(endpoint: Endpoint | None) -> Traced:
    if endpoint is None:
        return Traced(None, {})
    return Traced(endpoint.path, {"http.route": endpoint.path, "forecourt.endpoint": endpoint.name})
