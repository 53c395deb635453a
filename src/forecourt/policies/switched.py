"""Fields of an endpoint policy that hold one model, or "off"."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from forecourt.policies.wording import Words, nearest, refused

Model = TypeVar("Model", bound=Words)


def switched(model: type[Model]) -> Callable[[object], Model | Literal["off"] | None]:
    """Return the validator of a field that takes this model, a table of its fields, "off", or nothing."""
    reason = f'must be {model.__name__} with its fields, or "off"'

    def switch(value: object) -> Model | Literal["off"] | None:
        if value is None or isinstance(value, model):
            return value
        if isinstance(value, Mapping):
            return model.model_validate(value)
        if value == "off":
            return "off"
        raise refused(value, reason + (nearest(value, ["off"]) if isinstance(value, str) else ""))

    return switch
