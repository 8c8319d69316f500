"""How far a leave goes, as options say it."""

from __future__ import annotations

from .stop import Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Given
    from .wire import Json

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def lease_terms(given: Given) -> Json:
    """What --for, --uses and --until say."""
    scope, _, of = (given.one("for") or "all").partition(":")
    body: Json = {"scope": scope, "of": of}
    if given.has("uses"):
        body["uses"] = given.count("uses") or 0
    if given.has("until"):
        body["seconds"] = _seconds(given.one("until"))
    return body


def _seconds(text: str) -> int:
    if text == "never":
        return 0
    number, unit = text[:-1], text[-1:]
    if not (number.isdecimal() and int(number) and unit in _UNITS and len(number) < 7):
        raise Stop(f"{text!r} is no span: write for example 2h, 30m, 7d or never", name="usage")
    return int(number) * _UNITS[unit]
