"""JSON that somebody else wrote: whatever it is, it is either of the wanted shape or `NotJson`."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")


class NotJson(ValueError):
    """It cannot be read; the text says why. `misshapen`: it is JSON, of another shape."""

    misshapen = False


@overload
def decoded(data: bytes | str | msgspec.Raw, kind: type[T]) -> T: ...
@overload
def decoded(data: bytes | str | msgspec.Raw) -> Any: ...
def decoded(data: bytes | str | msgspec.Raw, kind: Any = Any) -> Any:
    """Raises `NotJson`: also for what is no Unicode, or nested deeper than anybody reads."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        failure = NotJson(str(error))
        failure.misshapen = isinstance(error, msgspec.ValidationError)
        raise failure from None
