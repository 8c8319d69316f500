"""Keeps AWS SSO sessions alive: what `aws sso login` left is renewed before it ends.

Each `[sso-session NAME]` of the AWS configuration has a file in the cache beside it. One that ends
soon is renewed at the OIDC endpoint itself, so that no secret is an argument of any program, and
replaced as a whole; what else is in it stays.
"""

from __future__ import annotations

import configparser
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import msgspec

from holdfast.adapters import private
from holdfast.adapters.models.loading import load_aside
from holdfast.core.error import HoldfastError

EVERY, EARLY = 300.0, 600.0
_LONGEST = 1 << 20
_REGION = re.compile(r"[a-z]{2}(?:-[a-z0-9]{1,20}){1,4}")
_SECRETS = ("clientId", "clientSecret", "refreshToken")
_log = logging.getLogger("holdfast.aws")


class AwsSessions:
    """The SSO sessions of one user's AWS configuration. `address` is the endpoint of a region."""

    def __init__(
        self, config: Path, cache: Path, address: Callable[[str], str], now: Callable[[], float]
    ) -> None:
        self._config, self._cache = config, cache
        self._address, self._now = address, now
        self._told = set[str]()

    async def renew(self, early: float = EARLY) -> int:
        """Renew what ends within `early` seconds; how many. What is wrong is logged, once each."""
        done = 0
        for name, region in self._sessions().items():
            path = self._cache / f"{hashlib.sha1(name.encode()).hexdigest()}.json"  # noqa: S324 - as AWS names it
            done += await self._renewed(name, region, path, early)
        return done

    async def keep(self, every: float = EVERY) -> None:
        """Renew for as long as this runs."""
        while True:
            await self.renew()
            await anyio.sleep(every)

    def _sessions(self) -> Mapping[str, str]:
        """The region of each session."""
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read_string(self._config.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, configparser.Error) as error:
            self._warn(f"{self._config} cannot be read: {type(error).__name__}")
            return {}
        found: dict[str, str] = {}
        for title in parser.sections():
            table, (kind, _, name) = parser[title], title.partition(" ")
            if kind == "sso-session" and name.strip():
                found[name.strip()] = table.get("sso_region", "").strip()
            elif table.get("sso_start_url") and not table.get("sso_session"):
                self._warn(
                    f"the AWS {title} is of the old kind, without an sso-session: not renewed"
                )
        return found

    async def _renewed(self, name: str, region: str, path: Path, early: float) -> bool:
        fields = self._cached(name, path)
        if fields is None or _ends(fields) > self._now() + early:
            return False
        kept = {one: str(fields.get(one) or "") for one in _SECRETS}
        region = region or str(fields.get("region") or "")
        if not all(kept.values()) or not _REGION.fullmatch(region):
            self._warn(f"the AWS session {name} has nothing to renew it with: aws sso login")
            return False
        grants: Any = await load_aside("logins.grants")
        try:
            access, renews, seconds = await grants.aws_renewed(self._address(region), kept)
        except grants.Rejected as refusal:
            self._warn(f"the AWS session {name} is over ({refusal}): aws sso login")
            return False
        except grants.Unreachable as failure:
            _log.warning("the AWS session %s was not renewed: %s", name, failure)
            return False
        fields |= {"accessToken": access, "refreshToken": renews, "expiresAt": self._end(seconds)}
        try:
            private.write(path, msgspec.json.encode(fields))
        except OSError as error:
            _log.warning("the AWS session %s cannot be saved: %s", name, error.strerror)
            return False
        _log.info("the AWS session %s was renewed", name)
        return True

    def _cached(self, name: str, path: Path) -> dict[str, Any] | None:
        try:
            data = private.read(path, _LONGEST)
            fields = None if data is None else msgspec.json.decode(data, type=dict[str, Any])
        except HoldfastError as problem:
            self._warn(str(problem))
            return None
        except msgspec.DecodeError:
            self._warn(f"the cache of the AWS session {name} is malformed: not renewed")
            return None
        if fields is not None and not fields.get("refreshToken"):
            return None  # nobody promised that it can be renewed
        return fields

    def _end(self, seconds: int) -> str:
        end = datetime.fromtimestamp(self._now() + seconds, UTC)
        return end.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _warn(self, what: str) -> None:
        if what not in self._told:
            self._told.add(what)
            _log.warning("%s", what)


def aws_sessions(environment: Mapping[str, str], now: Callable[[], float]) -> AwsSessions:
    """Those of the user whose environment it is; the usual AWS variables say it otherwise."""
    folder = Path(environment.get("HOME") or "~").expanduser() / ".aws"
    named = environment.get("AWS_CONFIG_FILE")
    config = Path(named).expanduser() if named else folder / "config"
    fixed = environment.get("AWS_ENDPOINT_URL_SSO_OIDC", "").rstrip("/")
    return AwsSessions(config, folder / "sso" / "cache", lambda r: fixed or _endpoint(r), now)


def _endpoint(region: str) -> str:
    end = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://oidc.{region}.{end}"


def _ends(fields: Mapping[str, Any]) -> float:
    """When the token ends; what cannot be read has ended."""
    told = str(fields.get("expiresAt") or "").replace("UTC", "Z").replace("Z", "+00:00")
    try:
        return datetime.fromisoformat(told).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
