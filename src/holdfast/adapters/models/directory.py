"""Who can be asked, and for which models: what was found, and what providers list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from holdfast.ports.choosing import Card
from holdfast.ports.model import Model

from . import roles
from .discover import Found, with_models
from .known import KNOWN
from .listing import Listings, named
from .names import Shelf, resolve
from .windows import window

_MOST_NAMES = 1_000


class Directory:
    """What each name means here. `ours` are models in this process."""

    def __init__(self, listings: Listings, ours: Mapping[str, Model]) -> None:
        self._listings, self._ours = listings, ours
        self.found: tuple[Found, ...] = ()
        self._beside: tuple[Found, ...] = ()
        self._meant: dict[str, str] = {}

    def fill(self, found: tuple[Found, ...], beside: tuple[Found, ...] | None = None) -> None:
        """These can be asked from now on; `beside` only where they are named."""
        self.found, self._beside = found, self._beside if beside is None else beside
        self._meant.clear()

    @property
    def everyone(self) -> tuple[Found, ...]:
        """All who can be asked, the preferred first, with the models they list."""
        return tuple(
            with_models(one, tuple(card.name for card in self._listings.cards(one)))
            for one in (*self.found, *self._beside)
        )

    def find(self, provider: str) -> Found | None:
        there = (one for one in (*self.found, *self._beside) if one.name == provider)
        return next(there, None)

    def full(self, name: str) -> str:
        """`provider/model` for what somebody typed. Raises `Invalid`."""
        if name in self._ours:
            return name
        if name not in self._meant:
            full = resolve(name, tuple(self._shelves()), tuple(KNOWN))
            if len(self._meant) >= _MOST_NAMES:
                self._meant.clear()
            self._meant[name] = full
        return self._meant[name]

    def default_of(self, found: Found) -> str:
        """The model of a provider that is named alone: what it lists first, if nobody says."""
        listed = self._listings.cards(found)
        return found.default or (f"{found.name}/{listed[0].name}" if listed else "")

    def names(self) -> tuple[str, ...]:
        """The models that somebody has named, configured or built in."""
        told = [f"{one.name}/{model}" for one in self.found for model in one.models]
        return (*told, *self._ours)

    async def learn(self) -> bool:
        """Ask those of whose models nobody has told, unless they have said within the hour.

        True if anything is new; so for `refresh`, which asks everybody whose list is too old.
        """
        silent = tuple(one for one in self.found if not one.models)
        return await self._asked(silent, fresh=False) if silent else False

    async def refresh(self, *, fresh: bool) -> bool:
        return await self._asked(self.found, fresh=fresh)

    async def _asked(self, found: tuple[Found, ...], *, fresh: bool) -> bool:
        new = await self._listings.refresh(found, fresh=fresh)
        if new:
            self._meant.clear()
        return new

    def cards(self, windows: Mapping[str, int]) -> tuple[Card, ...]:
        """What is known of all models."""
        cards: dict[str, Card] = {}
        for one in self.found:
            listed = (named(card, one.name) for card in self._listings.cards(one))
            told = (Card(name=f"{one.name}/{model}") for model in one.models)
            for card in (*listed, *told):
                cards.setdefault(card.name, self._with_window(card, one, windows))
        ours = [Card(name=name, window=model.window) for name, model in self._ours.items()]
        return (*cards.values(), *ours)

    def card(self, name: str, windows: Mapping[str, int]) -> Card:
        """What is known of one model, whether or not its provider lists it."""
        provider, _, model = name.partition("/")
        found = self.find(provider)
        if found is None:
            return Card(name=name)
        listed = (one for one in self._listings.cards(found) if one.name == model)
        card = next(listed, Card(name=model))
        return self._with_window(named(card, provider), found, windows)

    def _with_window(self, card: Card, found: Found, windows: Mapping[str, int]) -> Card:
        at = found.provider
        return replace(card, window=window(card.name, windows, at.window, card.window, at.local))

    def _shelves(self) -> Iterator[Shelf]:
        """What there is to choose from, the preferred first."""
        for one in (*self.found, *self._beside):
            at = one.provider
            listed = tuple(card.name for card in self._listings.cards(one))
            yield Shelf(
                provider=one.name,
                models=tuple(dict.fromkeys((*one.models, *listed))),
                default=self.default_of(one),
                whole=bool(listed) and self._listings.is_whole(one),
                open=at.kind == "openai-compatible" and not at.flavour,
                local=at.local,
                automatic=one in self.found and one.automatic and not roles.without_key(one),
            )
        for name in self._ours:
            provider, _, model = name.partition("/")
            yield Shelf(provider=provider, models=(model,), whole=True)
