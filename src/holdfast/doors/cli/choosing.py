"""`holdfast model list` and `set`: which models there are, and which are chosen."""

from __future__ import annotations

from .out import line
from .picker import pick
from .reading import count_of, part_of, rows_of, text_of
from .stop import OK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("MODEL", "CAN", "IN", "OUT", "READS", "ROLE")
_CAN = ("tools", "thinking", "vision")


def model_list(desk: Desk, given: Given) -> int:
    return _listed(desk, given, desk.daemon.get("/api/v1/models"))


def refresh(desk: Desk, given: Given) -> int:
    return _listed(desk, given, desk.daemon.post("/api/v1/models/refresh", repeatable=True))


def choose(desk: Desk, given: Given) -> int:
    """Give a role its model; without one, a person picks it from the list."""
    role = given.one("role", "executor")
    if not given.word() and not given.has("clear"):
        given.options["model"] = ["?"]
        pick_model(desk, given)
    model = "" if given.has("clear") else given.word() or given.one("model")
    made = desk.daemon.post(
        "/api/v1/models/choose", {"model": model, "role": role}, repeatable=True
    )
    if given.has("json"):
        desk.screen.json(made)
        return OK
    desk.screen.tell(line(text_of(made, "model")))
    if note := text_of(made, "note"):
        desk.screen.note(note, mark="point", color="warn")
    return OK


def pick_model(desk: Desk, given: Given) -> None:
    """`-m ?`: the list to choose from, and what is chosen in the place of the question mark."""
    if given.one("model") != "?":
        return
    desk.need_person("choosing a model")
    found = desk.daemon.get("/api/v1/models")
    name = pick(rows_of(found, "cards"), text_of(found, "default"))
    desk.screen.note(name, mark="point")
    given.options["model"] = [name]


def _listed(desk: Desk, given: Given, found: Json) -> int:
    pattern = given.word().lower()
    cards = [one for one in rows_of(found, "cards") if pattern in text_of(one, "name").lower()]
    if given.has("json"):
        desk.screen.json({**found, "cards": cards, "models": [one["name"] for one in cards]})
        return OK
    if text_of(found, "default").startswith("offline/"):
        desk.screen.note("no language model was found; the offline rules answer")
    if cards:
        roles = part_of(found, "roles")
        desk.screen.table(_HEAD, [_row(one, roles) for one in cards])
    count = len(cards)
    desk.screen.note(f"{count} model{'' if count == 1 else 's'} shown")
    return OK


def _row(card: Json, roles: Json) -> tuple[str, ...]:
    name = text_of(card, "name")
    can = " ".join(one for one in _CAN if card.get(one))
    window = count_of(card, "window")
    parts = " ".join(role for role, model in roles.items() if model == name)
    prices = (_price(card, "input_price"), _price(card, "output_price"))
    return name, can, *prices, f"{window:,}" if window else "", parts


def _price(card: Json, name: str) -> str:
    """Dollars for a million tokens."""
    price = card.get(name)
    return "" if price is None else f"${int(price) / 1e6:.2f}" if price else "free"
