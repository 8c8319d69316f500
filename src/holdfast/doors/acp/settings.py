"""What a person may choose for a session: what is allowed, which model, how much it thinks."""

from __future__ import annotations

from typing import Any

from holdfast.core.gate.presets import ABOUT

from .lines import PARAMS, Fault

Json = dict[str, Any]
USUAL = "configured"
_THINKING = {
    USUAL: "As configured",
    "off": "Off",
    "low": "Low",
    "medium": "Medium",
    "high": "High",
}
_MODES = {USUAL: "What the house's policy says.", **ABOUT}


class Settings:
    """The choices of one session; `models` are those that there are."""

    def __init__(self, models: tuple[str, ...] = ()) -> None:
        self._models = models
        self._chosen = {"mode": USUAL, "model": USUAL, "thinking": USUAL}

    def choose(self, what: str, value: object) -> None:
        """Raises `Fault`."""
        known = self._known(what)
        if not isinstance(value, str) or value not in known:
            raise Fault(PARAMS, f"{value!r} is no {what}; there are: {', '.join(known)}")
        self._chosen[what] = value

    def terms(self) -> Json:
        """What of it a task is submitted with."""
        told = {name: value for name, value in self._chosen.items() if value != USUAL}
        terms: Json = {"preset": told["mode"]} if "mode" in told else {}
        if "model" in told:
            terms["model"] = told["model"]
        if "thinking" in told:
            terms["style"] = {"thinking": told["thinking"]}
        return terms

    def modes(self) -> Json:
        modes = [{"id": name, "name": name, "description": text} for name, text in _MODES.items()]
        return {"currentModeId": self._chosen["mode"], "availableModes": modes}

    def options(self) -> list[Json]:
        thinking = [{"value": value, "name": name} for value, name in _THINKING.items()]
        models = [{"value": name, "name": name} for name in self._known("model")]
        modes = [
            {"value": name, "name": name, "description": text} for name, text in _MODES.items()
        ]
        return [
            self._option("mode", "Preset", "mode", modes),
            self._option("model", "Model", "model", models),
            self._option("thinking", "Thinking", "thought_level", thinking),
        ]

    def _option(self, what: str, name: str, category: str, options: list[Json]) -> Json:
        return {
            "id": what,
            "name": name,
            "category": category,
            "type": "select",
            "currentValue": self._chosen[what],
            "options": options,
        }

    def _known(self, what: str) -> tuple[str, ...]:
        match what:
            case "mode":
                return tuple(_MODES)
            case "model":
                return (USUAL, *self._models)
            case "thinking":
                return tuple(_THINKING)
            case _:
                raise Fault(PARAMS, f"there is no option {what!r}: mode, model, thinking")
