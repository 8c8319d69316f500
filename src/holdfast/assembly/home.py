"""The folder that holds an installation: complete, private, and one daemon's at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.adapters import private
from holdfast.core.error import Broken, Refused, Unavailable

DATABASE = "holdfast.db"
AUDIT_KEY = "audit.key"
LISTS = Path("cache") / "models"
CHOICES = "models.json"
KEYS = "keys.json"
TRUST = "trust.json"
WEBHOOKS = "webhooks"
CHATS = "chats"
SOCKET = Path("run") / "holdfast.sock"
VAULT = "vault"
HEALTH = Path("run") / "model-health.json"


BACKED_UP = (
    *(KEYS, TRUST, CHOICES, WEBHOOKS, CHATS),
    *("peers.json", "mcp.json", "mcp.lock.json"),
    *("responses", "uploads", "undo", "blobs"),
)
"""What a backup holds of a home besides the journal."""

NOT_BACKED_UP = (
    *("config.toml", "policy.toml", VAULT, AUDIT_KEY, "token", "tls"),
    *("outputs", "apart", "outbox", "workspace", "browsers"),
)
"""What it does not: what people write themselves, what is secret, what can be made again."""

MENTIONING = ("undo", "responses", "outputs", "apart", "uploads", CHATS)
"""Folders whose files may speak of blobs; the journal does, too."""


def prepare(home: Path) -> str:
    """Make the home complete, private and ours; returns the token for HTTP, made if missing."""
    try:
        for folder in (home, *(home / name for name in _FOLDERS)):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        return _token(home / "token")
    except OSError as error:
        hint = "choose another with HOLDFAST_HOME, or mend its permissions"
        code = "home_unusable"
        raise Unavailable(
            f"{home} cannot be used: {error.strerror}", code=code, hint=hint
        ) from error


_FOLDERS = (
    "run",
    "logs",
    "cache",
    "blobs",
    "outputs",
    "apart",
    "undo",
    "outbox",
    "backups",
    "browsers",
    "mcp",
    CHATS,
    "workspace",
)


def _token(path: Path) -> str:
    if not path.exists():
        _make_token(path)
    path.chmod(0o600)
    if token := path.read_text(encoding="ascii", errors="replace").strip():
        return token
    raise Broken(f"{path} is empty", code="token_empty", hint="delete it to get a new one")


def _make_token(path: Path) -> None:
    """Complete and on the disk before it has its name: a power cut must not leave an empty one."""
    fresh = path.with_name(f"token.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):  # someone else was faster: theirs counts
        path.hardlink_to(fresh)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def only_one(home: Path) -> Generator[None]:
    """Hold the home's lock. Raises `Refused` when another daemon has it."""
    with open(home / "run" / "daemon.lock", "a+", opener=private.opener) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "unknown"
            message = f"a daemon is already running on {home} (process {who})"
            raise Refused(message, code="already_running", hint="holdfast serve stop") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
