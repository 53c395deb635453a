"""When calls are kept from what does not answer, and when it is tried again."""

from typing import Annotated, Literal

from pydantic import PlainValidator, model_validator

from forecourt.core.breaker import MILLION, Rules
from forecourt.policies.quantities import Count, Duration, Share, exact, microseconds
from forecourt.policies.switched import switched
from forecourt.policies.terms import Name, Part, Statuses
from forecourt.policies.wording import Fault, Words, fault, refusal

Mode = Literal["on", "shadow", "disabled", "forced_open"]
Fallback = Literal["stale", "offload"]

GROWTH = 4
"""The longest wait unless the policy says otherwise, in `reset_timeout`s."""

LONGEST_RESET = 86_400 * 30
"""Seconds: waits are doubled, and stay exact."""


class CircuitBreaker(Words):
    """Refuses calls with 503 while what they need has failed.

    Opens after `fail_max` failures in a row ("off": not counted), or when at least `failure_rate` of the last `window`
    calls have failed, or when `slow_rate` of them took `slow_call` seconds or longer, once there are `minimum_calls`;
    with `period`, of the calls of the last so many seconds. After `reset_timeout` seconds, and up to `jitter` of that
    more, `probes` calls at once are let through: `success_threshold` successes close it, a failure opens it for twice
    as long, up to `max_reset` (four times `reset_timeout` unless given). A probe loses its place after `probe_timeout`
    seconds. What fails: an exception, our own timeout, and the statuses of `failures`; a client that leaves counts for
    nothing. `name`: endpoints whose breakers have one name share one. `shared`: all processes of the store open as soon
    as one does, and probe no more than `probes` at once together. `mode`: `on`, `shadow` (counts and reports, never
    refuses), `disabled`, `forced_open`. `fallback`: what may answer instead while it is open: a `stale` answer of the
    cache, or a job (`offload`).
    """

    fail_max: Count | Literal["off"] = 5
    reset_timeout: Duration = 30
    success_threshold: Count = 1
    failure_rate: Share | None = None
    window: Count = 100
    period: Duration | None = None
    minimum_calls: Count = 10
    slow_call: Duration | None = None
    slow_rate: Share = 1
    failures: Statuses = frozenset({500, 502, 503, 504})
    probes: Count = 1
    probe_timeout: Duration = 30
    max_reset: Duration | None = None
    jitter: Part = 0.1
    name: Name = None
    shared: bool = False
    mode: Mode = "on"
    fallback: Fallback | None = None

    def rules(self) -> Rules:
        """Return what a circuit decides by, in whole microseconds and millionths."""
        reset = microseconds(self.reset_timeout)
        return Rules(
            fail_max=0 if self.fail_max == "off" else self.fail_max,
            reset=reset,
            max_reset=GROWTH * reset if self.max_reset is None else microseconds(self.max_reset),
            jitter=round(self.jitter * MILLION),
            successes=self.success_threshold,
            probes=self.probes,
            probe_deadline=microseconds(self.probe_timeout),
            window=self.window,
            span=0 if self.period is None else microseconds(self.period),
            minimum=self.minimum_calls,
            failure_rate=None if self.failure_rate is None else round(self.failure_rate * MILLION),
            slow_call=None if self.slow_call is None else microseconds(self.slow_call),
            slow_rate=round(self.slow_rate * MILLION),
        )

    @model_validator(mode="after")
    def _possible(self) -> "CircuitBreaker":
        if wrong := list(self._faults()):
            raise refusal(type(self).__name__, wrong)
        return self

    def _faults(self) -> list[Fault]:
        wrong: list[Fault] = []
        if self.fail_max == "off" and self.failure_rate is None and self.slow_call is None:
            reason = "must be a number unless failure_rate or slow_call is given, or nothing would open it"
            wrong.append(fault("fail_max", self.fail_max, reason))
        if exact(self.reset_timeout) > LONGEST_RESET:
            wrong.append(fault("reset_timeout", self.reset_timeout, f"must be at most {LONGEST_RESET} seconds"))
        if self.max_reset is not None and exact(self.max_reset) < exact(self.reset_timeout):
            wrong.append(fault("max_reset", self.max_reset, f"must be at least reset_timeout, {self.reset_timeout}"))
        if self.period is None and self.minimum_calls > self.window:
            wrong.append(fault("minimum_calls", self.minimum_calls, f"must be at most window, {self.window}"))
        return wrong


CircuitBreakerField = Annotated[
    CircuitBreaker | Literal["off"] | None,
    PlainValidator(switched(CircuitBreaker), json_schema_input_type=CircuitBreaker | Literal["off"] | None),
]
"""What the field `circuit_breaker` takes."""
