"""What must not be seen: names whose values are secret, and what exceptions say."""

import functools
import re
from collections.abc import Iterable, Mapping

REDACTED = "[redacted]"

_SECRET = re.compile(
    r"auth|cookie|passw|passphrase|secret|token|credential|session|signature|api.?key|private.?key|csrf|jwt|dpop|otp|pin$",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Tell whether a header or field of this name is likely to carry a secret."""
    return _SECRET.search(name) is not None


def redacted(value: object) -> object:
    """Return the same value; in tables, however deep, secret fields are replaced."""
    if isinstance(value, Mapping):
        return {key: REDACTED if is_secret(str(key)) else redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in value]
    return value


def logged_headers(headers: Iterable[tuple[bytes, bytes]], names: frozenset[bytes]) -> dict[str, str]:
    """Return the request headers of these names as text, secret ones redacted."""
    return {
        name.decode("latin-1"): REDACTED if is_secret(name.decode("latin-1")) else value.decode("latin-1")
        for name, value in headers
        if name in names
    }


def without_words(error: BaseException) -> BaseException:
    """Return a stand-in for an exception: same types, places and causes, but nothing of what they say."""
    return _stand_in(error, {})


@functools.lru_cache(maxsize=256)
def _called(name: str, module: str, qualname: str, base: type[BaseException]) -> type[BaseException]:
    """Return an exception of this name; not made anew for each, as a class is garbage that only a collection finds."""
    return type(name, (base,), {"__module__": module, "__qualname__": qualname})


def _stand_in(error: BaseException, known: dict[int, BaseException]) -> BaseException:
    if id(error) in known:
        return known[id(error)]
    kind = type(error)
    names = kind.__name__, kind.__module__, kind.__qualname__
    if isinstance(error, BaseExceptionGroup):
        parts = [_stand_in(each, known) for each in error.exceptions]
        stand_in: BaseException = _called(*names, BaseExceptionGroup)("", parts)
    else:
        stand_in = _called(*names, Exception)()
    known[id(error)] = stand_in
    if error.__cause__ is not None:
        stand_in.__cause__ = _stand_in(error.__cause__, known)
    if error.__context__ is not None:
        stand_in.__context__ = _stand_in(error.__context__, known)
    stand_in.__suppress_context__ = error.__suppress_context__
    return stand_in.with_traceback(error.__traceback__)
