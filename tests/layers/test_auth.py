"""Auth in the stack: who is let in, who is told what, and what handlers see."""

import json
from collections.abc import Mapping

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from forecourt import (
    ConfigError,
    Denied,
    EndpointPolicy,
    FixedWindow,
    JobConfig,
    PolicyMiddleware,
    Principal,
    Security,
    User,
)
from forecourt.testing import FakeClock, FakeIssuer
from forecourt.types import Scope
from tests.asgi import call, get, http
from tests.auth.service import Guarded, challenges, problem, who
from tests.services import starlette


async def test_a_caller_with_a_token_is_let_in_and_known() -> None:
    """The handler sees Starlette's user and scopes, and the typed principal with tenant and tier."""
    clock = FakeClock()
    issuer = FakeIssuer(clock=clock, tenant_claim="org.id", tier_claim="plan")
    service = Guarded(issuer=issuer)
    answer = await service.bearing(issuer.token(scopes={"b", "a"}, org={"id": "acme"}, plan="gold"))
    assert answer.status == 200
    assert json.loads(answer.body) == {
        "authenticated": True,
        "name": "alice",
        "scopes": ["a", "b"],
        "subject": "alice",
        "tenant": "acme",
        "tier": "gold",
    }


async def test_a_caller_without_credentials_is_challenged() -> None:
    """401 with a bare challenge, without an error code (RFC 6750 §3.1); nothing ran."""
    answer = await Guarded(realm="records").showing()
    assert (answer.status, problem(answer)) == (401, "unauthenticated")
    assert challenges(answer) == ['Bearer realm="records"']


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
async def test_the_scheme_is_compared_without_case(scheme: str) -> None:
    """RFC 9110 §11.1; more than one space may follow."""
    service = Guarded()
    assert (await service.bearing(service.token(), scheme=scheme)).status == 200


@pytest.mark.parametrize(
    "fields",
    [
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", "Bearer a b")],
        [("authorization", "Bearer a,b")],
        [("authorization", 'Bearer "a"')],
        [("authorization", "")],
        [("authorization", "Be@rer abc")],
        [("authorization", "Bearer abc"), ("authorization", "Bearer abc")],
    ],
)
async def test_a_malformed_field_is_a_bad_request(fields: list[tuple[str, str]]) -> None:
    """400 invalid_request, as is a field that is given twice."""
    answer = await Guarded().showing(fields)
    assert (answer.status, problem(answer)) == (400, "malformed-credentials")
    assert 'error="invalid_request"' in challenges(answer)[0]


@pytest.mark.parametrize("value", ["Basic YTpi", "Digest x", "DPoP abc.def.ghi"])
async def test_a_scheme_that_is_not_accepted_is_no_way_in(value: str) -> None:
    """401 with the schemes that are."""
    answer = await Guarded().showing({"authorization": value})
    assert answer.status == 401
    assert challenges(answer)[0].startswith("Bearer ")


HOUR = 3600
BAD: Mapping[str, dict[str, object]] = {
    "an expiry in the past": {"exp": 1_699_999_000},
    "no expiry": {"exp": None},
    "an expiry as text": {"exp": "1800000000"},
    "an expiry that is true": {"exp": True},
    "an expiry beyond all numbers": {"exp": 1e300},
    "an expiry below zero": {"exp": -1},
    "a beginning in the future": {"nbf": 1_700_000_000 + HOUR},
    "an issue in the future": {"iat": 1_700_000_000 + HOUR},
    "another audience": {"aud": "others"},
    "no audience": {"aud": None},
    "an audience that is a number": {"aud": 7},
    "other audiences": {"aud": ["others", "more"]},
    "no issuer": {"iss": None},
    "issuers": {"iss": ["https://issuer.example"]},
    "another issuer": {"iss": "https://evil.example"},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is a number": {"sub": 7},
    "scopes that are a number": {"scope": 7},
    "roles that are numbers": {"roles": [7]},
    "an id that is a number": {"jti": 7},
    "a binding that cannot be checked": {"cnf": {"x5t#S256": "abc"}},
    "a type of another kind": {"header": {"typ": "logout+jwt"}},
    "a type that is a number": {"header": {"typ": 7}},
    "a plain type": {"header": {"typ": "JWT"}},
    "a critical extension": {"header": {"crit": ["exp"], "exp": 1}},
    "a critical number": {"header": {"crit": 1}},
    "an algorithm of another name": {"header": {"alg": "none"}},
    "an algorithm that is not allowed": {"header": {"alg": "HS512"}},
    "a key of another name": {"header": {"kid": "another"}},
    "a key name that is a number": {"header": {"kid": 7}},
}


@pytest.mark.parametrize("claims", BAD.values(), ids=BAD)
async def test_a_token_that_must_not_count_is_refused(claims: dict[str, object]) -> None:
    """401 invalid_token, though the signature holds; the answer repeats nothing of the token."""
    service = Guarded()
    token = service.token(**claims)
    answer = await service.bearing(token)
    assert (answer.status, problem(answer)) == (401, "invalid-credentials")
    assert 'error="invalid_token"' in challenges(answer)[0]
    assert not any(part in str(answer.messages) for part in token.split("."))


async def test_what_was_changed_is_refused() -> None:
    """A token whose claims or signature were changed, cut, padded, or that is no token at all."""
    service = Guarded()
    token = service.token()
    head, body, signature = token.split(".")
    other = service.token(subject="bob").split(".")[1]
    for bad in (
        f"{head}.{other}.{signature}",
        f"{head}.{body}.{signature[:-2]}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature}=",
        f"{head}==.{body}.{signature}",
        f"{head}.{body}.{signature}.x",
        "x",
        "x" * 20_000,
    ):
        assert (await service.bearing(bad)).status in (400, 401), bad
    assert (await service.bearing(token)).status == 200


async def test_a_token_ends_to_the_microsecond_even_when_it_was_seen_before() -> None:
    """It counts until exp and the leeway, and not at that instant; so it does when it was remembered."""
    service = Guarded()
    token = service.token()
    service.clock.advance(HOUR + 9)
    assert (await service.bearing(token)).status == 200
    service.clock.advance(0.999999)
    assert (await service.bearing(token)).status == 200
    service.clock.advance(0.000001)
    assert (await service.bearing(token)).status == 401


async def test_a_token_counts_from_its_beginning() -> None:
    """`nbf` less the leeway; a token that was remembered does not count before it when the clock is set back."""
    service = Guarded()
    token = service.token(nbf=1_700_000_000 + 60)
    service.clock.advance(49.999999)
    assert (await service.bearing(token)).status == 401
    service.clock.advance(0.000001)
    assert (await service.bearing(token)).status == 200
    service.clock.advance(-1)
    assert (await service.bearing(token)).status == 401


NEEDS = Security(scopes={"read", "write"}, roles={"reader", "admin"})


@pytest.mark.parametrize(
    ("security", "scopes", "roles", "status"),
    [
        (NEEDS, {"read", "write", "more"}, {"reader"}, 200),
        (NEEDS, {"read"}, {"reader"}, 403),
        (NEEDS, {"read", "write"}, set(), 403),
        (NEEDS, {"Read", "write"}, {"reader"}, 403),
        (NEEDS, {"read", "write"}, {"read"}, 403),
        (Security(scopes={"read", "write"}, match_scopes="any"), {"write"}, set(), 200),
        (Security(scopes={"read", "write"}, match_scopes="any"), {"rea"}, set(), 403),
        (Security(roles={"reader", "admin"}, match_roles="all"), set(), {"reader"}, 403),
        (Security(roles={"reader", "admin"}, match_roles="all"), set(), {"reader", "admin"}, 200),
    ],
)
async def test_scopes_and_roles(security: Security, scopes: set[str], roles: set[str], status: int) -> None:
    """All scopes and any role, unless the policy says otherwise; whole words, case-sensitively."""
    service = Guarded(security)
    assert (await service.bearing(service.token(scopes=scopes, roles=roles))).status == status


async def test_what_is_missing_is_told() -> None:
    """403 with all scopes that the endpoint asks for; with nothing where the config does not tell; roles never."""
    service = Guarded(NEEDS)
    answer = await service.bearing(service.token(scopes={"read"}))
    assert (answer.status, problem(answer)) == (403, "forbidden")
    assert challenges(answer) == ['Bearer realm="api", error="insufficient_scope", scope="read write"']
    silent = Guarded(NEEDS, tell_scopes=False)
    assert challenges(await silent.bearing(silent.token())) == ['Bearer realm="api", error="insufficient_scope"']
    assert challenges(await service.bearing(service.token(scopes={"read", "write"}))) == []


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "a b"}, ["a", "b"]),
        ({"scope": None, "scp": ["a", "b"]}, ["a", "b"]),
        ({"scope": None, "scp": "a b"}, ["a", "b"]),
        ({"scope": None}, []),
    ],
)
async def test_scopes_stand_where_issuers_put_them(claims: dict[str, object], scopes: list[str]) -> None:
    """`scope` or `scp`, as text or as a list."""
    service = Guarded()
    assert json.loads((await service.bearing(service.token(**claims))).body)["scopes"] == scopes


@pytest.mark.parametrize(
    "claims",
    [
        {"roles": ["reader"]},
        {"roles": None, "groups": ["reader"]},
        {"roles": None, "realm_access": {"roles": ["reader"]}},
    ],
)
async def test_roles_stand_where_issuers_put_them(claims: dict[str, object]) -> None:
    """`roles`, `groups`, or Keycloak's `realm_access.roles`."""
    service = Guarded(Security(roles={"reader"}))
    assert (await service.bearing(service.token(**claims))).status == 200


async def test_a_login_can_be_too_old_or_too_weak() -> None:
    """RFC 9470: 401 insufficient_user_authentication with what is asked for; an hour and one microsecond is too old."""
    service = Guarded(Security(max_age=HOUR, acr={"mfa", "passkey"}))
    fresh: dict[str, object] = {"auth_time": 1_700_000_000, "acr": "mfa"}
    token = service.token(**fresh, exp=1_700_000_000 + 3 * HOUR)
    assert (await service.bearing(token)).status == 200
    service.clock.advance(HOUR)
    assert (await service.bearing(token)).status == 200
    service.clock.advance(0.000001)
    answer = await service.bearing(token)
    assert (answer.status, problem(answer)) == (401, "login-required")
    assert challenges(answer) == [
        'Bearer realm="api", error="insufficient_user_authentication", acr_values="mfa passkey", max_age="3600"'
    ]
    for lacking in ({"acr": "password"}, {"acr": None}, {"auth_time": None}):
        assert (await service.bearing(service.token(**{**fresh, **lacking}))).status == 401
    only_acr = Guarded(Security(acr={"mfa"}))
    assert "max_age" not in challenges(await only_acr.bearing(only_acr.token()))[0]


async def test_a_public_endpoint_does_not_look_at_credentials() -> None:
    """Even bad ones; the user is nobody."""
    answer = await Guarded(Security(public=True)).bearing("rubbish")
    assert answer.status == 200
    assert json.loads(answer.body)["authenticated"] is False


async def test_an_anonymous_caller_is_let_in_where_the_policy_says_so() -> None:
    """Without credentials as nobody; with good ones as who they are; with bad ones not at all."""
    service = Guarded(Security(anonymous=True))
    assert json.loads((await service.showing()).body)["subject"] is None
    assert json.loads((await service.bearing(service.token())).body)["subject"] == "alice"
    assert (await service.bearing("rubbish")).status == 401
    assert (await service.showing({"authorization": "Basic YTpi"})).status == 401


async def test_what_handlers_do_to_their_scopes_stays_theirs() -> None:
    """The list is a copy, the claims are read-only all the way down."""

    async def spoil(request: Request) -> Response:
        request.auth.scopes.append("admin")
        with pytest.raises(TypeError):
            request.user.claims["deep"]["list"] = ()
        assert request.user.claims["deep"]["list"] == (1, 2)
        assert repr(request.user) == "<User 'alice' of 'https://issuer.example'>"
        assert request.user.identity == "alice"
        assert isinstance(request.user, User)
        return PlainTextResponse("done")

    service = Guarded(None, Route("/spoil", spoil, name="spoil"))
    token = service.token(deep={"list": [1, 2]})
    for _ in range(2):
        assert (await service.bearing(token, "/spoil")).status == 200
    assert json.loads((await service.bearing(token)).body)["scopes"] == []


async def test_limits_count_the_principal() -> None:
    """Two callers of one address have a bucket each; who is refused by auth has consumed nothing."""
    policy = EndpointPolicy(security=Security(), rate_limit=FixedWindow(limit=1, window=60))
    service = Guarded(policy=policy)
    assert (await service.showing()).status == 401
    assert [(await service.bearing(service.token(subject=name))).status for name in ("a", "b", "a")] == [200, 200, 429]


async def test_a_websocket_is_refused_before_it_is_accepted() -> None:
    """With 401 where the server can, else by closing; with a token it is open."""
    service = Guarded()
    refused = await service.connecting(None)
    assert (refused.status, challenges(refused)) == (401, ['Bearer realm="api"'])
    assert "websocket.accept" not in refused.kinds
    closed = await service.connecting(None, denial=False)
    assert closed.messages == [{"type": "websocket.close", "code": 1008, "reason": "Unauthorized"}]
    said: dict[str, object] = {"type": "websocket.receive", "text": "hello"}
    assert "websocket.send" in (await service.connecting(service.token(), said)).kinds


async def test_a_preflight_reaches_the_router_only_where_no_handler_answers_options() -> None:
    """CORS preflights are not challenged on an endpoint of other methods, and are where it answers OPTIONS itself."""
    asking = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"GET")]
    own = Route("/own", who, methods=["OPTIONS", "GET"], name="own")
    service = Guarded(None, own)
    assert (await call(service.app, http("/", "OPTIONS", headers=asking))).status == 405
    assert (await call(service.app, http("/own", "OPTIONS", headers=asking))).status == 401


async def test_nothing_listens_when_the_call_is_over() -> None:
    """What would have ended a stream is told of no later response."""
    seen = []

    async def keeping(request: Request) -> Response:
        seen.append(request.state.forecourt)
        return Response()

    service = Guarded(Security(), Route("/kept", keeping, name="keeping"))
    assert (await service.bearing(service.token(exp=4_000_000_000), "/kept")).status == 200
    assert [each.begins for each in seen] == [None]


async def test_schemes_can_be_told_apart() -> None:
    """A policy may ask for one way to authenticate; others do not count there."""

    class Header:
        """Believes a header."""

        challenge = 'Mine realm="mine"'

        async def authenticate(self, scope: Scope) -> Principal | None:
            """Look at `x-user`."""
            found = [value.decode() for name, value in scope["headers"] if name == b"x-user"]
            if found == ["denied"]:
                raise Denied
            if found == ["broken"]:
                raise RuntimeError("a directory is down")
            return Principal("mine", found[0], scopes=frozenset({"s"})) if found else None

    service = Guarded(authenticators={"mine": Header()})
    assert json.loads((await service.showing({"x-user": "carol"})).body)["subject"] == "carol"
    assert (await service.showing({"x-user": "carol", "authorization": "Basic YTpi"})).status == 200
    assert (await service.showing({"authorization": "Basic YTpi"})).status == 401
    assert (await service.showing({"x-user": "denied"})).status == 401
    broken = await service.showing({"x-user": "broken"})
    assert (broken.status, problem(broken)) == (503, "authentication-unavailable")
    assert challenges(await service.showing()) == ['Bearer realm="api"', 'Mine realm="mine"']

    tokens_only = Guarded(Security(schemes={"bearer"}), authenticators={"mine": Header()})
    answer = await tokens_only.showing({"x-user": "carol"})
    assert (answer.status, challenges(answer)[0][:6]) == (401, "Bearer")
    assert len(challenges(answer)) == 1
    assert (await tokens_only.bearing(tokens_only.token())).status == 200
    mine_only = Guarded(Security(schemes={"mine"}, scopes={"t"}), authenticators={"mine": Header()})
    forbidden = await mine_only.showing({"x-user": "carol"})
    assert (forbidden.status, challenges(forbidden)) == (403, [])


async def test_a_token_for_one_config_is_not_remembered_for_another() -> None:
    """The same key, another audience: what one service has seen does not count at the other."""
    service = Guarded()
    token = service.token()
    assert (await service.bearing(token)).status == 200
    other = Guarded(issuers=[service.issuer.policy.model_copy(update={"audience": ("others",)})])
    assert (await other.bearing(token)).status == 401


async def test_the_layer_alone_refuses_the_same() -> None:
    """Installed by itself it answers as in the whole stack, and outer and inner stacks share the caller."""
    clock = FakeClock()
    issuer = FakeIssuer(clock=clock)
    config = JobConfig(
        issuers=[issuer.policy],
        default=EndpointPolicy(security=Security(), rate_limit=FixedWindow(limit=1, window=60)),
    )
    installed = [
        Middleware(PolicyMiddleware, config=config, layers=(layer,), clock=clock)
        for layer in ("security", "rate_limit")
    ]
    app = Starlette(routes=[Route("/", who, name="who")], middleware=installed)
    assert (await get(app, "/")).status == 401
    fields = [(name.encode(), value.encode()) for name, value in issuer.headers().items()]
    assert [(await call(app, http("/", headers=fields))).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({}, "security of default: nobody could authenticate: the config has no issuers, api_keys,"),
        (
            {"default": EndpointPolicy(security=Security(schemes={"api_key"})), "issuers": "an issuer"},
            'schemes: "api_key" is not allowed: the config has only bearer',
        ),
    ],
)
async def test_what_nobody_could_meet_stops_the_start(config: dict[str, object], line: str) -> None:
    """A policy that no credential could satisfy is told at startup."""
    if config.get("issuers"):
        config = {**config, "issuers": [FakeIssuer().policy]}
    settings = JobConfig(**{"default": EndpointPolicy(security=Security()), **config})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="security of default") as raised:
        await get(starlette(settings, Route("/", who, name="who")), "/")
    assert line in str(raised.value)
