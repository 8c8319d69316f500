"""Who may go where on the network, and how much."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from msgspec import Struct
from msgspec.structs import replace

READING = ("GET", "HEAD")
SECRET = re.compile(r"\$SECRET\{([a-z0-9][a-z0-9._/-]*)\}")


class Allowed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that may be reached: all fields must match.

    `host` is a name, or `*.name` for all below it, or `*`. Port 0: 80, 443 and all above 1023. No
    `methods`: all. `path` is a shell pattern. `headers` are put into matching requests on the way
    out, in place of what was there; their values may hold `$SECRET{name}`, which whoever is inside
    never sees.
    """

    host: str
    port: int = 443
    methods: tuple[str, ...] = ()
    path: str = "*"
    headers: Mapping[str, str] = {}

    @property
    def ruled(self) -> bool:
        """It cannot be held without looking at the request."""
        return bool(self.methods or self.headers or self.path != "*")


class Reach(Struct, frozen=True, kw_only=True):
    """Where somebody may go, and how much: the task and agent are who is held to account.

    `web`: every host besides those allowed, with these `methods` (none: all). `private`: hosts that
    may be at a private address, and the only addresses that may stand in place of a name.
    `intercept`: TLS of allowed hosts is opened to look at paths and to put in headers; the box then
    trusts an authority that exists for it alone.
    """

    task: str
    agent: str
    tool: str = ""
    allowed: tuple[Allowed, ...] = ()
    web: bool = False
    methods: tuple[str, ...] = READING
    private: tuple[str, ...] = ()
    intercept: bool = False
    requests: int = 1_000
    bytes: int = 1 << 30

    @property
    def ways(self) -> tuple[Allowed, ...]:
        """What is allowed, by name before by being on the web."""
        web = Allowed(host="*", port=0, methods=self.methods)
        return (*self.allowed, web) if self.web else self.allowed

    @property
    def anywhere(self) -> bool:
        """Every public host may be reached, whatever is done there."""
        return any(way.host == "*" and not way.ruled for way in self.ways)


class Way(Struct, frozen=True, kw_only=True):
    """Something that may be reached, by whom: shell patterns of agents and tools."""

    allowed: Allowed
    agents: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    boxes: bool = False


class Ways(Struct, frozen=True, kw_only=True):
    """All that may be reached. `usual` is what is the same for everybody."""

    all: tuple[Way, ...] = ()
    usual: Reach = Reach(task="", agent="")

    def reach(self, *, task: str, agent: str, tool: str, box: bool = False) -> Reach:
        """What an agent reaches with a tool. In a box only ways for boxes count; without any it
        gets no network."""
        allowed = tuple(
            way.allowed
            for way in self.all
            if (way.boxes or not box)
            and any(fnmatchcase(agent, pattern) for pattern in way.agents)
            and any(fnmatchcase(tool, pattern) for pattern in way.tools)
        )
        web = self.usual.web and not box
        return replace(self.usual, task=task, agent=agent, tool=tool, allowed=allowed, web=web)
