"""How a server of the Model Context Protocol is described."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from .message import EffectClass


class LoginSpec(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """How one logs in where a server wants that: who we are to those who issue its logins.

    `grant`: a person's, or our `own` (client credentials). Without `client_id` one is registered,
    or `document` is it: where we describe ourselves. Keys are references to secrets.
    """

    grant: Literal["person", "own"] = "person"
    client_id: str = ""
    client_secret: str = ""
    client_key: str = ""
    document: str = ""
    redirect: str = ""
    scopes: tuple[str, ...] = ()


class ServerSpec(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One server: a `command` that runs in a box and talks on its stdin and stdout, or a `url`.

    `agents` and `tools` are shell patterns; of `effects` the first pattern that matches a tool
    counts, without one it writes. `reveal`: secrets that the process itself may see, which only its
    `environment` can hold. `seconds` is how long a call may take, `start_seconds` how long it may
    take to come up. `shared`: one process for all tasks, in a folder of its own. `ask_seconds`: how
    long it may wait for a person whom it asks (0: it may not); `sampling`: for a model of ours.
    `handshake`: it is greeted as up to 2025-11-25, whatever else it knows.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str = ""
    headers: Mapping[str, str] = {}
    environment: Mapping[str, str] = {}
    reveal: tuple[str, ...] = ()
    agents: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    effects: Mapping[str, EffectClass] = {}
    believe_hints: bool = False
    seconds: float = 60.0
    start_seconds: float = 30.0
    idle_seconds: float = 300.0
    prefix: str | None = None
    description: str = ""
    read_only: tuple[str, ...] = ()
    shared: bool = False
    private: bool = False
    login: LoginSpec = LoginSpec()
    sampling: Literal["never", "ask", "always"] = "never"
    ask_seconds: float = 0.0
    handshake: bool = False
