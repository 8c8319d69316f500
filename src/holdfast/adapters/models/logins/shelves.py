"""Where a login's tokens are kept: in our vault, or in the file that a vendor's program left.

A file of somebody else's program is read at each use and keeps everything that is not ours to
change; it is used only if nobody but its owner can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from holdfast.adapters import private
from holdfast.core.error import Broken, Unavailable
from holdfast.core.foreign import NotJson, decoded
from holdfast.ports.vault import Vault

from .token import Token, account_of, expiry, issued_to

_LONGEST = 1 << 20


class Shelf(Protocol):
    """Holds one login. `load` gives None when there is none; both raise `Broken`, `Unavailable`."""

    @property
    def place(self) -> str:
        """Where it is, for a person to read."""
        ...

    def load(self) -> Token | None: ...

    def save(self, token: Token) -> None:
        """Durable and private when it returns."""
        ...


class VaultShelf:
    """A login that was made here."""

    place = "login"

    def __init__(self, vault: Vault, name: str) -> None:
        self._vault, self._name = vault, place_of(name)

    def load(self) -> Token | None:
        told = self._vault.get(self._name)
        if told is None:
            return None
        try:
            return decoded(told, Token)
        except NotJson as error:
            raise Broken(f"the login {self._name} is damaged", code="vault_damaged") from error

    def save(self, token: Token) -> None:
        self._vault.put(self._name, msgspec.json.encode(token).decode())


def place_of(name: str) -> str:
    """Where the login of a provider is in the vault."""
    return f"login/{name}"


class _FileShelf:
    """A JSON file of another program."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def place(self) -> str:
        return str(self._path)

    def load(self) -> Token | None:
        fields = self._fields()
        return None if fields is None else self._read(fields)

    def save(self, token: Token) -> None:
        fields = self._fields()
        if fields is None:
            raise Unavailable(f"{self._path} is gone", code="login_gone")
        self._change(fields, token)
        try:
            private.write(self._path.resolve(), msgspec.json.format(msgspec.json.encode(fields)))
        except OSError as error:
            what = f"{self._path} cannot be written: {error.strerror}"
            raise Unavailable(what, code="login_unwritable") from error

    def _fields(self) -> dict[str, Any] | None:
        data = private.read(self._path.resolve(), _LONGEST)
        if data is None:
            return None
        try:
            return decoded(data, dict[str, Any])
        except NotJson as error:
            raise Broken(f"{self._path} is damaged", code="login_damaged") from error

    def _read(self, fields: Mapping[str, Any]) -> Token | None:
        raise NotImplementedError

    def _change(self, fields: dict[str, Any], token: Token) -> None:
        raise NotImplementedError


class CodexFile(_FileShelf):
    """What `codex login` left."""

    def _read(self, fields: Mapping[str, Any]) -> Token | None:
        tokens = _part(fields, "tokens")
        access, identity = _text(tokens, "access_token"), _text(tokens, "id_token")
        if not access:
            return None
        return Token(
            access=access,
            refresh=_text(tokens, "refresh_token"),
            expires_at=expiry(access),
            account=_text(tokens, "account_id") or account_of(identity, access),
            client_id=issued_to(access, identity),
        )

    def _change(self, fields: dict[str, Any], token: Token) -> None:
        tokens = {**_part(fields, "tokens")}
        tokens |= {"access_token": token.access, "refresh_token": token.refresh}
        now = datetime.fromtimestamp(_now(), UTC).isoformat().replace("+00:00", "Z")
        fields |= {"tokens": tokens, "last_refresh": now}


class ClaudeFile(_FileShelf):
    """What `claude` left."""

    def _read(self, fields: Mapping[str, Any]) -> Token | None:
        told = _part(fields, "claudeAiOauth")
        if not (access := _text(told, "accessToken")):
            return None
        expires_at = _number(told, "expiresAt") / 1000
        return Token(access=access, refresh=_text(told, "refreshToken"), expires_at=expires_at)

    def _change(self, fields: dict[str, Any], token: Token) -> None:
        told = {**_part(fields, "claudeAiOauth"), "accessToken": token.access}
        told |= {"refreshToken": token.refresh, "expiresAt": round(token.expires_at * 1000)}
        fields["claudeAiOauth"] = told


class QwenFile(_FileShelf):
    """What `qwen` left."""

    def _read(self, fields: Mapping[str, Any]) -> Token | None:
        if not (access := _text(fields, "access_token")):
            return None
        return Token(
            access=access,
            refresh=_text(fields, "refresh_token"),
            expires_at=_number(fields, "expiry_date") / 1000,
            base_url=_resource(_text(fields, "resource_url")),
        )

    def _change(self, fields: dict[str, Any], token: Token) -> None:
        fields |= {"access_token": token.access, "refresh_token": token.refresh}
        fields["expiry_date"] = round(token.expires_at * 1000)


def left_by_programs(env: Mapping[str, str]) -> Mapping[str, Shelf]:
    """Where each vendor's program leaves its login, for whoever `env` belongs to."""
    home = Path(env.get("HOME") or "/")
    codex = Path(env.get("CODEX_HOME") or home / ".codex")
    claude = Path(env.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    return {
        "claude": ClaudeFile(claude / ".credentials.json"),
        "codex": CodexFile(codex / "auth.json"),
        "qwen-code": QwenFile(home / ".qwen" / "oauth_creds.json"),
    }


def _resource(told: str) -> str:
    """`resource_url` is a host, or an address without its `/v1`."""
    if not told:
        return ""
    plain = (told if "://" in told else f"https://{told}").rstrip("/")
    return plain if plain.endswith("/v1") else f"{plain}/v1"


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = fields.get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    found = fields.get(name)
    return found if isinstance(found, str) else ""


def _number(fields: Mapping[str, Any], name: str) -> float:
    found = fields.get(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 0.0


def _now() -> float:
    return datetime.now(UTC).timestamp()  # noqa: TID251 - the file says when it was written
