"""Connecting Slack workspaces: in a browser here, or anywhere with the address brought back."""

from __future__ import annotations

import getpass
import re
import sys
import time
from contextlib import closing

from .client import quote
from .landing import Landing
from .out import line
from .reading import count_of, rows_of, text_of, texts_of
from .stop import OK, REFUSED, Stop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json

_HEAD = ("ALIAS", "LOGIN", "WORKSPACE", "AS", "SCOPES", "UNTIL", "NOTE")
_USUAL, _LONGEST = "default", 1 << 16
_HERE = re.compile(r"http://(?:127\.0\.0\.1|localhost):([0-9]{1,5})/callback")


def slack_login(desk: Desk, given: Given) -> int:
    alias = given.word() or _USUAL
    port = given.count("port")
    here = f"http://127.0.0.1:{port}/callback" if port else ""
    body: Json = {
        "client_id": given.one("client-id"),
        "client_secret": _secret(desk, given),
        "team": given.one("team"),
        "scopes": [one for one in re.split(r"[\s,]+", given.one("scopes")) if one],
        "redirect": given.one("redirect") or here,
    }
    begun = desk.daemon.post(f"/api/v1/slack/{quote(alias)}/login", body)
    found = _HERE.fullmatch(text_of(begun, "redirect"))
    with closing(Landing(int(found[1]) if found else None)) as landing:
        landing.invite(desk, given, begun, "authorize")
        answer = landing.answer(desk, given)
    if not answer:
        hint = f"holdfast slack login {alias}"
        raise Stop("nobody finished the login", hint=hint, code=REFUSED)
    attempt = quote(text_of(begun, "attempt"))
    made = desk.daemon.post(f"/api/v1/slack-logins/{attempt}", {"answer": answer})
    if given.has("json"):
        desk.screen.json(made)
        return OK
    who, where = line(text_of(made, "user")), line(text_of(made, "team"))
    desk.screen.note(f"logged in to {where} as {who}, here called {alias}", mark="good")
    desk.screen.note("agents have the slack_* tools now; what posts is asked about before")
    return OK


def slack_logout(desk: Desk, given: Given) -> int:
    alias = given.word() or _USUAL
    body: Json = {"local_only": given.has("local-only")}
    gone = desk.daemon.post(f"/api/v1/slack/{quote(alias)}/logout", body)
    if given.has("json"):
        desk.screen.json(gone)
        return OK
    if gone.get("revoked"):
        desk.screen.note(f"{alias} is forgotten, and Slack took the token back", mark="good")
        return OK
    desk.screen.note(f"{alias} is forgotten here", mark="good")
    if not given.has("local-only"):
        desk.screen.note("there was no token that Slack could take back")
    return OK


def slack_status(desk: Desk, given: Given) -> int:
    rows = rows_of(desk.daemon.get("/api/v1/slack"), "workspaces")
    alias = given.word()
    if alias:
        rows = [one for one in rows if text_of(one, "alias") == alias]
    if given.has("json"):
        desk.screen.json({"workspaces": rows})
    elif rows:
        desk.screen.table(_HEAD, [_row(one) for one in rows])
    else:
        which = f"no Slack workspace is called {alias}" if alias else "no workspace is connected"
        desk.screen.note(f"{which}: holdfast slack login --help")
    return OK


def _secret(desk: Desk, given: Given) -> str:
    """The secret of the app: never an argument, where others see it."""
    if given.has("client-secret-stdin"):
        return sys.stdin.readline(_LONGEST).strip()
    if given.one("client-id") and desk.screen.attended:
        asked = "Secret of the app, not shown (empty: as before, or it has none): "
        return getpass.getpass(asked, sys.stderr).strip()
    return ""


def _row(one: Json) -> tuple[str, ...]:
    until, state = count_of(one, "expires_at"), text_of(one, "state")
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(until / 1000)) if until else "-"
    lasts = one.get("lasts") and state == "in" and until
    team, team_id = line(text_of(one, "team")), line(text_of(one, "team_id"))
    return (
        text_of(one, "alias"),
        {"in": "logged in", "over": "over"}.get(state, "none"),
        f"{team} ({team_id})" if team_id else "-",
        line(text_of(one, "user")) or "-",
        line(" ".join(texts_of(one, "scopes"))) or "-",
        "renewed by itself" if lasts else when,
        line(text_of(one, "note")),
    )
