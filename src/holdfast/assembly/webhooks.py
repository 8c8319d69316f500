"""Webhooks: their files, and the way out that they take."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from holdfast.adapters import private
from holdfast.adapters.kept import Kept
from holdfast.core.reach import Allowed, Reach
from holdfast.ports.egress import Egress, Request
from holdfast.runtime.hooks import OWNER, Answered, Mail, Parcel, Webhook, Webhooks

_SECONDS = 10.0
_MOST = 4_096
_FOR_EVER = 1 << 60
_DAY = 86_400


class Files:
    """A folder of the home: the webhooks, and the mail of each."""

    def __init__(self, folder: Path) -> None:
        private.make_folder(folder)
        self._folder = folder

    @property
    def webhooks(self) -> Kept[Webhooks]:
        return Kept(self._folder / "webhooks.json", Webhooks())

    def mail(self, name: str, read: int) -> Kept[Mail]:
        return Kept(self._path(name), Mail(read=read))

    def forget(self, name: str) -> None:
        private.remove(self._path(name))

    def _path(self, name: str) -> Path:
        return self._folder / f"mail-{name}.json"


class Gatekept:
    """Carries through the house's one way out: to the webhook's own place, and nowhere else."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress

    async def carry(self, hook: Webhook, parcel: Parcel) -> Answered:
        parts = urlsplit(parcel.url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        reach = Reach(
            task="",
            agent=OWNER,
            tool=f"{OWNER}:{hook.name}",
            allowed=(Allowed(host=host, port=port, methods=("POST",)),),
            private=(host,) if hook.private else (),
            requests=_FOR_EVER,
            bytes=_FOR_EVER,
        )
        request = Request(
            url=parcel.url,
            method="POST",
            headers=parcel.headers,
            body=parcel.body,
            seconds=_SECONDS,
            most=_MOST,
            hops=0,
        )
        answer = await self._egress.fetch(request, reach)
        after = next((v for k, v in answer.headers.items() if k.lower() == "retry-after"), "")
        wait = min(int(after), _DAY) * 1000 if after.isdecimal() and len(after) < 9 else 0
        return Answered(status=answer.status, after=wait)
