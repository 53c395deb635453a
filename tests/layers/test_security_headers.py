"""Fields that tell browsers to be careful."""

import pytest

from forecourt import ClientNetworks, ConfigError, EndpointPolicy, JobConfig, SecurityHeaders, SecurityHeadersMiddleware
from tests.layers.guarded import Guarded


async def test_answers_carry_the_profile() -> None:
    """Data is nothing to render; over plain http, nothing is said of https (RFC 6797 §7.2)."""
    headers = (await Guarded(EndpointPolicy(headers=SecurityHeaders())).call()).headers
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in headers


async def test_pages_may_show_their_own_things() -> None:
    """Another profile, and https once it was https."""
    policy = EndpointPolicy(headers=SecurityHeaders(profile="pages", hsts=60))
    headers = (await Guarded(policy).call(scheme="https")).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["strict-transport-security"] == "max-age=60; includeSubDomains"


async def test_fields_are_added_replaced_and_left_out() -> None:
    """By the operator's word; an empty one is left out, and hsts by 0 seconds."""
    fields = {"X-Frame-Options": "SAMEORIGIN", "referrer-policy": "", "x-robots-tag": "noindex"}
    policy = EndpointPolicy(headers=SecurityHeaders(fields=fields, hsts=0))
    headers = (await Guarded(policy).call(scheme="https")).headers
    assert (headers["x-frame-options"], headers["x-robots-tag"]) == ("SAMEORIGIN", "noindex")
    assert not {"referrer-policy", "strict-transport-security"} & headers.keys()


async def test_what_a_handler_sets_stays() -> None:
    """It knows better; but it says nothing of what serves it, unless that is wanted."""
    own = {"x-frame-options": "SAMEORIGIN", "server": "secret/1.0", "x-powered-by": "coffee"}
    headers = (await Guarded(EndpointPolicy(headers=SecurityHeaders()), headers=own).call()).headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert not {"server", "x-powered-by"} & headers.keys()
    shown = (await Guarded(EndpointPolicy(headers=SecurityHeaders(banners=True)), headers=own).call()).headers
    assert (shown["server"], shown["x-powered-by"]) == ("secret/1.0", "coffee")


async def test_refusals_carry_them_too() -> None:
    """Whatever answers."""
    policy = EndpointPolicy(headers=SecurityHeaders(), clients=ClientNetworks(deny={"192.0.2.0/24"}))
    answer = await Guarded(policy).call()
    assert (answer.status, answer.headers["x-content-type-options"]) == (403, "nosniff")


async def test_websockets_carry_them_in_their_acceptance() -> None:
    """They begin with a response as well."""
    (accepted, *_) = (await Guarded(EndpointPolicy(headers=SecurityHeaders())).connect()).messages
    assert (b"x-content-type-options", b"nosniff") in accepted["headers"]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"profile": "page"}, 'did you mean "pages"?'),
        ({"fields": []}, "must be a table of fields"),
        ({"fields": {"x y": "1"}}, "must be the name of a header field"),
        ({"fields": {"x": "1\r\ny: 2"}}, "must be visible ASCII in one line"),
        (
            {"fields": {"strict-transport-security": "max-age=1"}},
            "it is said over https only; give its seconds as hsts",
        ),
    ],
)
def test_wrong_fields_stop_the_start(headers: dict[str, object], message: str) -> None:
    """With the field's name and the fix."""
    with pytest.raises(ConfigError, match="headers") as caught:
        JobConfig(default={"headers": headers})  # type: ignore[arg-type]  # as in a file
    assert message in str(caught.value)


def test_it_is_a_middleware_of_its_own() -> None:
    """The stack with that one layer."""
    assert SecurityHeadersMiddleware.installs == ("headers",)
