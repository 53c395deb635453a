"""Which fields tell browsers to be careful with an endpoint's answers."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from forecourt.policies.quantities import Delay, exact
from forecourt.policies.switched import switched
from forecourt.policies.wording import Words, fault, refusal, refused

Profile = Literal["api", "pages"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7E]*")

_YEAR = 365 * 24 * 3600

_PROFILES: Mapping[Profile, Mapping[str, str]] = MappingProxyType(
    {
        "api": {
            "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
            "cross-origin-resource-policy": "same-origin",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
        },
        "pages": {
            "content-security-policy": (
                "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
            ),
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
            "referrer-policy": "strict-origin-when-cross-origin",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
        },
    }
)
"""What each profile says, after OWASP's REST and HTTP headers cheat sheets."""


def _fields(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise refused(value, 'must be a table of fields, as in {"x-robots-tag" = "noindex"}')
    for name, text in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise refused(name, "must be the name of a header field")
        if not isinstance(text, str) or not _VALUE.fullmatch(text):
            raise refused(text, "must be visible ASCII in one line; empty leaves the field out")
    return MappingProxyType({str(name).lower(): str(text) for name, text in value.items()})


class SecurityHeaders(Words):
    """The fields of a `profile`: `api` for data, `pages` for what browsers render.

    `hsts`: over https, browsers come back by https only for so many seconds (0: not said). `fields`: more of them, or
    other values; an empty one leaves a field of the profile out. `banners`: whether the app's `Server` and
    `X-Powered-By` stay. A field that a handler sets is left as it is.
    """

    profile: Profile = "api"
    hsts: Delay = _YEAR
    fields: Annotated[Mapping[str, str], PlainValidator(_fields, json_schema_input_type=dict[str, str])] = Field(
        default_factory=dict
    )
    banners: Annotated[bool, Field(strict=True)] = False

    def said(self) -> dict[str, str]:
        """Return the fields and their values, names in lower case, apart from Strict-Transport-Security."""
        return {name: text for name, text in {**_PROFILES[self.profile], **self.fields}.items() if text}

    def transport(self) -> str:
        """Return the value of Strict-Transport-Security; empty where it is not said."""
        seconds = int(exact(self.hsts))
        return f"max-age={seconds}; includeSubDomains" if seconds else ""

    @model_validator(mode="after")
    def _possible(self) -> "SecurityHeaders":
        if "strict-transport-security" in self.fields:
            reason = "it is said over https only; give its seconds as hsts"
            raise refusal(type(self).__name__, [fault("fields", "strict-transport-security", reason)])
        return self


HeadersField = Annotated[
    SecurityHeaders | Literal["off"] | None,
    PlainValidator(switched(SecurityHeaders), json_schema_input_type=SecurityHeaders | Literal["off"] | None),
]
"""What the field `headers` takes."""
