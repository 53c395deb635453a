"""What every model of a config shares, and how a mistake in one is told.

Pydantic finds the mistakes; this file says them. Each model restates its own errors as sentences that carry
the value and the nearest right word, so that they read the same from Python, from a file and from the
environment:

    endpoints."get_record".rate_limit.max_tokens: -1 is not allowed: must be greater than 0

Tables and lists are named by their kind, never printed: something in them may be secret.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

Place = tuple[str | int, ...]
"""Where in a config: the words and list positions that lead there."""

SAID = "not_allowed"
"""The type of an error that is a finished sentence."""

_TABLES_BY_NAME = frozenset({"endpoints", "presets", "tiers", "routes", "key_functions", "upstreams", "databases"})
_LONGEST_SHOWN = 60
_REASONS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "mapping_type": "must be a table",
    "string_type": "must be text",
}


class Fault(NamedTuple):
    """One thing wrong: the place within a model, the value there, and the sentence that says so."""

    place: Place
    value: object
    sentence: str


class Words(BaseModel):
    """A frozen table of an operator's words; an unknown word is an error that names the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    later: ClassVar[frozenset[str]] = frozenset()
    """Fields that the design names and this version does not enforce."""

    file_words: ClassVar[frozenset[str]] = frozenset()
    """Words that are spelt in files only, and replaced before the model sees them."""

    @model_validator(mode="wrap")
    @classmethod
    def _say(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            wrong = error
        raise restated(wrong, cls.model_fields, cls.later, cls.file_words)


def restated(
    error: ValidationError, fields: Iterable[str], later: frozenset[str], file_words: frozenset[str]
) -> ValidationError:
    """Return the same errors of a model with these fields, each as a sentence.

    A required field that is missing because it is misspelt is told once, as the misspelt word.
    """
    known = [*fields, *sorted(file_words)]
    details = error.errors()
    strange = {str(each["loc"][-1]) for each in details if each["type"] == "extra_forbidden"}
    meant = {match for word in strange for match in difflib.get_close_matches(word, known, n=1)}

    def sentence(detail: ErrorDetails) -> str:
        if detail["type"] == SAID:
            return detail["msg"]
        if detail["type"] == "missing":
            return "must be given"
        if detail["type"] == "extra_forbidden":
            return unknown(str(detail["loc"][-1]), known, later, file_words)
        return _wrong_value(detail)

    told = [each for each in details if each["type"] != "missing" or each["loc"][-1] not in meant]
    return refusal(error.title, [Fault(each["loc"], each["input"], sentence(each)) for each in told])


def refusal(title: str, faults: Iterable[Fault]) -> ValidationError:
    """Return the error that tells all faults of one model."""
    details = [InitErrorDetails(type=said(fault.sentence), loc=fault.place, input=fault.value) for fault in faults]
    return ValidationError.from_exception_data(title, details, hide_input=True)


def said(sentence: str) -> PydanticCustomError:
    """Return the error of a validator, in these words."""
    # The parameter is typed as a literal against injection; pydantic fills a template only from a context.
    return PydanticCustomError(SAID, sentence)


def refused(value: object, reason: str) -> PydanticCustomError:
    """Return the error of a validator: this value is not allowed, for this reason."""
    return said(not_allowed(value, reason))


def fault(field: str, value: object, reason: str) -> Fault:
    """Return the fault that a field's value is not allowed, for this reason."""
    return Fault((field,), value, not_allowed(value, reason))


def faults(error: ValidationError, within: Place = ()) -> list[Fault]:
    """Return the faults of a model that stands at the place `within`."""
    return [Fault((*within, *each["loc"]), each["input"], each["msg"]) for each in error.errors()]


def problems(error: ValidationError, within: Place = ()) -> list[str]:
    """Return one line per fault: where, and what is wrong there; `within` is the place of the model."""
    return [f"{spelt(each.place)}: {each.sentence}" for each in faults(error, within)]


def not_allowed(value: object, reason: str) -> str:
    """Return the sentence that refuses a value."""
    return f"{shown(value)} is not allowed: {reason}"


def unknown(
    word: str,
    known: Sequence[str],
    later: frozenset[str] = frozenset(),
    file_words: frozenset[str] = frozenset(),
) -> str:
    """Return the sentence that refuses a word, with the known one most like it, or all of them."""
    if word in later:
        return f"`{word}` is not in this version"
    if word in file_words:
        return f"`{word}` is a word of config files only"
    return f"unknown word{nearest(word, known) or '; known are ' + ', '.join(known)}"


def spelt(place: Place) -> str:
    """Return a place as an operator would look for it: `endpoints."admin:*".rate_limit[0].limit`."""
    text, by_name = "", False
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        text += f'."{step}"' if by_name else f".{step}"
        by_name = not by_name and step in _TABLES_BY_NAME
    return text.removeprefix(".")


def nearest(word: str, known: Iterable[str], most: int = 1) -> str:
    """Return `; did you mean "…"?` for at most so many known words like this one, or nothing when none is."""
    matches = [f'"{match}"' for match in difflib.get_close_matches(word, sorted(known), n=most)]
    return f"; did you mean {' or '.join(matches)}?" if matches else ""


def shown(value: object) -> str:
    """Return a value as text for a message; text from a secret shows where it came from instead."""
    if isinstance(value, bool):
        return str(value).lower()
    if type(value) is str:
        return f'"{value}"' if len(value) <= _LONGEST_SHOWN else f'"{value[:_LONGEST_SHOWN]}…"'
    if isinstance(value, str | int | float):
        return repr(value)
    if value is None:
        return "nothing"
    return _kind(value)


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a value of type {type(value).__name__}"


def _wrong_value(detail: ErrorDetails) -> str:
    kind, value = detail["type"], detail["input"]
    reason = _REASONS.get(kind, detail["msg"].replace("Input should be", "must be", 1))
    if kind == "model_type":
        reason = f"must be {_article(detail['ctx']['class_name'])}, in files a table of its fields"
    if kind == "literal_error" and isinstance(value, str):
        reason += nearest(value, re.findall("'([^']*)'", detail["ctx"]["expected"]))
    return not_allowed(value, reason)


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
