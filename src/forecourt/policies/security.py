"""Who may call an endpoint."""

from collections.abc import Set as AbstractSet
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, model_validator

from forecourt.policies.quantities import Duration
from forecourt.policies.switched import switched
from forecourt.policies.texts import Texts
from forecourt.policies.wording import Fault, Words, fault, refusal

Match = Literal["all", "any"]

SCHEMES = ("bearer", "api_key", "introspection")
"""The ways to prove who one is that forecourt knows itself; a config's `authenticators` add their names."""


class Security(Words):
    """`Security()` lets in any authenticated caller.

    `scopes` and `roles` are compared as whole words, case-sensitively; a caller needs `all` or `any` of each, as
    `match_scopes` and `match_roles` say. `schemes`: only these ways to authenticate count here. `anonymous`: a caller
    without credentials is let in as nobody, one with bad ones is refused. `max_age`: the caller logged in so many
    seconds ago at most; `acr`: in one of these ways (RFC 9470). `public`: credentials are not looked at.
    """

    scopes: Texts = frozenset()
    roles: Texts = frozenset()
    match_scopes: Match = "all"
    match_roles: Match = "any"
    schemes: Texts | None = None
    anonymous: Annotated[bool, Field(strict=True)] = False
    max_age: Duration | None = None
    acr: Texts = frozenset()
    public: Annotated[bool, Field(strict=True)] = False

    @property
    def demands(self) -> AbstractSet[str]:
        """The names of the fields that ask something of an authenticated caller."""
        asked = {"scopes": self.scopes, "roles": self.roles, "acr": self.acr, "max_age": self.max_age}
        return {name for name, value in asked.items() if value}

    @model_validator(mode="after")
    def _possible(self) -> "Security":
        wrong: list[Fault] = []
        if self.public and (self.demands or self.anonymous or self.schemes is not None):
            wrong.append(fault("public", True, "a public endpoint asks nothing of its callers; give only one of both"))
        if self.anonymous and self.demands:
            named = ", ".join(sorted(self.demands))
            wrong.append(fault("anonymous", True, f"an anonymous caller has none of what {named} asks for"))
        if self.schemes is not None and not self.schemes:
            wrong.append(fault("schemes", [], "nobody could authenticate; leave it out to accept every scheme"))
        if wrong:
            raise refusal(type(self).__name__, wrong)
        return self


SecurityField = Annotated[
    Security | Literal["off"] | None,
    PlainValidator(switched(Security), json_schema_input_type=Security | Literal["off"] | None),
]
"""What the field `security` takes."""
