"""Words that several policies of resilience share: statuses, names, shares that may be nothing."""

import math
import re
from collections.abc import Collection
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator

from forecourt.policies.wording import refused

NAMED = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""What several places call one thing by."""


def _statuses(value: object) -> frozenset[int]:
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        raise refused(value, "must be a list of statuses such as [502, 503]")
    for status in value:
        if type(status) is not int or not 400 <= status <= 599:
            raise refused(status, "must be a status from 400 to 599")
    return frozenset(value)


def _part(value: object) -> int | float:
    if type(value) is bool or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise refused(value, "must be a number from 0 to 1")
    return value


def _name(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not NAMED.fullmatch(value):
        raise refused(value, "must be 1 to 64 letters, digits, _, ., : or -")
    return value


def _sorted(statuses: frozenset[int]) -> list[int]:
    return sorted(statuses)


Statuses = Annotated[
    frozenset[int], PlainValidator(_statuses, json_schema_input_type=list[int]), PlainSerializer(_sorted)
]
"""Statuses of responses, from 400 to 599."""

Part = Annotated[float, PlainValidator(_part, json_schema_input_type=float)]
"""A part of a whole, 0 to 1."""

Name = Annotated[str | None, PlainValidator(_name, json_schema_input_type=str | None)]
"""What several places call one thing by."""
