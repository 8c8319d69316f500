"""The routes about agents elsewhere: add one, look at it, remove it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct
from pydantic import Field

from holdfast.runtime import peers
from holdfast.runtime.elsewhere import Peer

from .bodies import Body, NoQuery, Nothing, Patterns
from .mcp import Removed
from .route import Ask, Entry

_PEER = "/api/v1/peers/{name}"


class NewPeer(Body):
    """An agent elsewhere; the keys are those of `[peers.NAME]`."""

    url: Annotated[str, Field(min_length=1, max_length=2_000)] = Field(
        description="The host whose card it is, or where the card is."
    )
    description: Annotated[str, Field(max_length=500)] = Field(
        default="", description="What it is for: stands in its tool's description."
    )
    secret: Annotated[str, Field(max_length=200)] = Field(
        default="", description="Name of the secret that it is shown as a bearer token."
    )
    agents: Patterns = Field(default=("*",), strict=False, description="Who may ask it: patterns.")
    timeout_seconds: float = Field(default=600.0, ge=1, le=86_400)
    private: bool = Field(default=False, description="`url` may lead to a private address.")


class PeerState(Struct, frozen=True, kw_only=True):
    """An agent elsewhere, and the tool with which ours ask it; `added`: by hand."""

    name: str
    url: str
    tool: str
    description: str
    secret: str
    agents: tuple[str, ...]
    seconds: float
    private: bool
    added: bool


class PeerList(Struct, frozen=True, kw_only=True):
    """All of them, by name."""

    peers: tuple[PeerState, ...]


class PeerLook(Struct, frozen=True, kw_only=True):
    """What it said of itself just now; `once`: a message that comes twice is one there."""

    name: str
    title: str
    description: str
    version: str
    endpoint: str
    skills: tuple[str, ...]
    once: bool
    milliseconds: int


async def peer_list(ask: Ask[NoQuery, Nothing]) -> PeerList:
    return PeerList(peers=tuple(map(_state, peers.peers(ask.house))))


async def peer_add(ask: Ask[NoQuery, NewPeer]) -> PeerState:
    told = ask.body.model_dump(exclude={"timeout_seconds"})
    told |= {"name": ask.path("name"), "seconds": ask.body.timeout_seconds}
    return _state(await peers.add(ask.house, told, by=ask.by))


async def peer_test(ask: Ask[NoQuery, Nothing]) -> PeerLook:
    card = await peers.look(ask.house, ask.path("name"))
    return PeerLook(**{name: getattr(card, name) for name in PeerLook.__struct_fields__})


async def peer_remove(ask: Ask[NoQuery, Nothing]) -> Removed:
    name = ask.path("name")
    await peers.remove(ask.house, name, by=ask.by)
    return Removed(name=name)


def _state(peer: Peer) -> PeerState:
    return PeerState(
        name=peer.name,
        url=peer.url,
        tool=f"ask_{peer.name.replace('-', '_')}",
        description=peer.description,
        secret=peer.secret,
        agents=peer.agents,
        seconds=peer.seconds,
        private=peer.private,
        added=peer.added,
    )


PEER_ROUTES: tuple[Entry, ...] = (
    Entry("GET", "/api/v1/peers", peer_list, "Which agents elsewhere ours may ask.", PeerList),
    Entry(
        "POST",
        _PEER,
        peer_add,
        "Add an agent elsewhere: ours get a tool that asks it.",
        PeerState,
        body=NewPeer,
        errors=(409, 503),
    ),
    Entry(
        "POST",
        f"{_PEER}/test",
        peer_test,
        "Fetch its card: is it there, and who does it say it is?",
        PeerLook,
        errors=(503,),
    ),
    Entry(
        "POST",
        f"{_PEER}/remove",
        peer_remove,
        "Forget an agent that was added.",
        Removed,
        errors=(409, 503),
    ),
)
