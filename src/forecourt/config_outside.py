"""What a config is told from outside of Python: the environment over the file that FORECOURT_CONFIG names."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from forecourt.config_file import read
from forecourt.errors import ConfigError


class Outside(PydanticBaseSettingsSource):
    """The environment over a file; a field that Python gives is left alone, not merged."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path | None) -> None:
        super().__init__(settings_cls)
        self._path = path

    def __call__(self) -> dict[str, object]:
        """Return the fields that are said outside, and not by Python."""
        file = read(self._path) if self._path else {}
        given = {**file, **environment(self.settings_cls.model_fields)}
        return {name: value for name, value in given.items() if name not in self.current_state}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:
        """Return a field's value in the environment (None: not given), its name, and that it is parsed."""
        return environment({field_name: field}).get(field_name), field_name, False


def environment(fields: Mapping[str, FieldInfo]) -> dict[str, object]:
    """Return the fields that the environment gives; an empty variable gives nothing."""
    variables = {name: f"FORECOURT_{name.upper()}" for name in fields}
    return {
        name: _parsed(variable, os.environ[variable], fields[name])
        for name, variable in variables.items()
        if os.environ.get(variable)
    }


def _parsed(variable: str, text: str, field: FieldInfo) -> object:
    if field.annotation in (str, int, str | None) or get_origin(field.annotation) is Literal:
        return text
    if field.annotation == Sequence[str] and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")]
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{variable} is not JSON: {error}") from None
