"""Slack on this machine, over real HTTP: logins with rotation, its Web API, its errors and limits.

    with FakeSlack() as slack:
        answer = slack.agree(url)     # what the person does in the browser: the address it ends at
        slack.end()                   # every access token has ended

A refresh token counts once. What was posted is in `posts`, and can be read as any other message.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from .website import Asked, Reply, Website

CLIENT, SECRET = "111.222", "an-apps-secret-9f2b7c"
ME, TEAM = "U0ME", "T0LAB"
_SCOPES = {
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "search.messages": "search:read",
    "search.files": "search:read",
    "users.list": "users:read",
    "users.info": "users:read",
    "chat.postMessage": "chat:write",
    "conversations.open": "im:write",
}

Fields = Mapping[str, str]
Answer = dict[str, Any]


@dataclass(kw_only=True)
class _Grant:
    """A login that somebody agreed to, and how the codes of it are proved."""

    scope: str
    redirect: str
    challenge: str


@dataclass(kw_only=True)
class Channel:
    """A channel and what was said in it, oldest first."""

    messages: list[Answer] = field(default_factory=list[Answer])
    member: bool = True


class FakeSlack:
    """A context manager, used once. `seconds` is how long an access token lasts (0: for ever)."""

    def __init__(self, *, seconds: int = 43_200) -> None:
        self.seconds = seconds
        self.channels: dict[str, Channel] = {
            "C0GENERAL": Channel(),
            "C0SECRET": Channel(member=False),
        }
        self.members: list[Answer] = [_member(ME, "ada"), _member("U0BOB", "bob")]
        self.posts: list[Answer] = []
        self.asked: list[tuple[str, Fields]] = []
        self.revoked: list[str] = []
        self.troubles: list[Reply] = []
        """Answers that come before any other, each once."""
        self.tokens: dict[str, str] = {}
        self.refreshes: set[str] = set()
        self.after: Callable[[str], Reply | None] = lambda method: None
        """What is answered in place of what was done."""
        self._grants: dict[str, _Grant] = {}
        self._site = Website(rule=self._rule)
        self._stamp, self._scope, self.team = 1_900_000_000, "", TEAM

    def __enter__(self) -> Self:
        self._site.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._site.__exit__(kind, error, trace)

    @property
    def api(self) -> str:
        return f"{self._site.url}/api"

    def agree(self, url: str, *, team: str = TEAM) -> str:
        """The person agrees in their browser; gives the address that it ends at."""
        told = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self._site.url}/oauth/v2/authorize?"), url
        assert told["client_id"] == CLIENT
        code = secrets.token_hex(8)
        self._grants[code] = _Grant(
            scope=told["user_scope"],
            redirect=told["redirect_uri"],
            challenge=told["code_challenge"],
        )
        self.team = team
        back = urlencode({"code": code, "state": told["state"]})
        return f"{told['redirect_uri']}?{back}"

    def end(self) -> None:
        """Every access token has ended; refresh tokens count."""
        self.tokens.clear()

    def say(self, channel: str, text: str, user: str = "U0BOB", **more: Any) -> str:
        """Somebody says something; gives its `ts`."""
        self._stamp += 1
        stamp = f"{self._stamp}.000100"
        said = {"type": "message", "user": user, "text": text, "ts": stamp, **more}
        self.channels.setdefault(channel, Channel()).messages.append(said)
        return stamp

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.asked)

    def _rule(self, asked: Asked) -> Reply | None:
        if not asked.path.startswith("/api/"):
            return None
        method = asked.path.removeprefix("/api/")
        fields = dict(parse_qsl(asked.body.decode(), keep_blank_values=True))
        self.asked.append((method, fields))
        if self.troubles:
            return self.troubles.pop(0)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        answer = self._answer(method, fields, token)
        return self.after(method) or reply(answer)

    def _answer(self, method: str, fields: Fields, token: str) -> Answer:
        if method == "oauth.v2.access":
            return self._issued(fields)
        if token not in self.tokens:
            return no("token_revoked" if token in self.revoked else "token_expired")
        needed = _SCOPES.get(method)
        if needed and needed not in self.tokens[token].split(","):
            return no("missing_scope", needed=needed, provided=self.tokens[token])
        ways: Mapping[str, Callable[[Fields, str], Answer]] = {
            "auth.test": self._who,
            "auth.revoke": self._taken_back,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "conversations.open": self._opened,
            "search.messages": self._searched,
            "search.files": _files,
            "users.list": self._users,
            "users.info": self._user,
            "chat.getPermalink": _link,
            "chat.postMessage": self._posted,
        }
        return ways[method](fields, token) if method in ways else no("unknown_method")

    def _issued(self, fields: Fields) -> Answer:
        if fields.get("client_id") != CLIENT:
            return no("invalid_client_id")
        if fields.get("client_secret") != SECRET:
            return no("bad_client_secret")
        if fields.get("grant_type") == "refresh_token":
            old = fields.get("refresh_token", "")
            if old not in self.refreshes:
                return no("invalid_refresh_token")
            self.refreshes.discard(old)
            return {"ok": True, **self._token(self._scope)}
        grant = self._grants.pop(fields.get("code", ""), None)
        digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        proof = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if grant is None or grant.challenge != proof or grant.redirect != fields["redirect_uri"]:
            return no("invalid_code")
        self._scope = grant.scope
        person = {"id": ME, **self._token(grant.scope)}
        return {"ok": True, "app_id": "A0", "team": {"id": self.team}, "authed_user": person}

    def _token(self, scope: str) -> Answer:
        access = f"xoxe.xoxp-1-{secrets.token_hex(16)}"
        self.tokens[access] = scope
        told: Answer = {"access_token": access, "token_type": "user", "scope": scope}
        if self.seconds:
            renews = f"xoxe-1-{secrets.token_hex(16)}"
            self.refreshes.add(renews)
            told |= {"refresh_token": renews, "expires_in": self.seconds}
        return told

    def _who(self, fields: Fields, token: str) -> Answer:
        who = {"user": "ada", "user_id": ME, "team": "The Lab", "team_id": self.team}
        return {"ok": True, "url": "https://lab.slack.example/", **who}

    def _taken_back(self, fields: Fields, token: str) -> Answer:
        self.tokens.pop(token)
        self.revoked.append(token)
        return {"ok": True, "revoked": True}

    def _history(self, fields: Fields, token: str) -> Answer:
        found = self.channels.get(fields["channel"])
        if found is None:
            return no("channel_not_found")
        if not found.member:
            return no("not_in_channel")
        said = [one for one in found.messages if one["ts"] >= fields.get("oldest", "")]
        return _page([*map(_plain(fields), said[::-1])], "messages", fields)

    def _replies(self, fields: Fields, token: str) -> Answer:
        said = self.channels[fields["channel"]].messages
        thread = [one for one in said if fields["ts"] in (one["ts"], one.get("thread_ts"))]
        if not thread:
            return no("thread_not_found")
        return _page([*map(_plain(fields), thread)], "messages", fields)

    def _opened(self, fields: Fields, token: str) -> Answer:
        known = {one["id"] for one in self.members}
        users = fields["users"].split(",")
        if not known >= set(users):
            return no("user_not_found")
        name = f"D0{''.join(user.removeprefix('U0') for user in users)}"
        self.channels.setdefault(name, Channel())
        return {"ok": True, "channel": {"id": name}}

    def _searched(self, fields: Fields, token: str) -> Answer:
        hits = [
            {**one, "channel": {"id": name, "name": name.lower()}}
            for name, channel in self.channels.items()
            for one in channel.messages
            if fields["query"].casefold() in one["text"].casefold()
        ]
        paging = {"total": len(hits), "page": 1, "pages": 1}
        return {"ok": True, "messages": {"matches": hits, "paging": paging}}

    def _users(self, fields: Fields, token: str) -> Answer:
        return _page(self.members, "members", fields)

    def _user(self, fields: Fields, token: str) -> Answer:
        found = [one for one in self.members if one["id"] == fields["user"]]
        return {"ok": True, "user": found[0]} if found else no("user_not_found")

    def _posted(self, fields: Fields, token: str) -> Answer:
        found = self.channels.get(fields["channel"])
        if found is None:
            return no("channel_not_found")
        if not found.member:
            return no("not_in_channel")
        more: Answer = {"metadata": json.loads(fields.get("metadata", "{}"))}
        if thread := fields.get("thread_ts"):
            more["thread_ts"] = thread
        stamp = self.say(fields["channel"], fields["text"], ME, **more)
        self.posts.append(
            {"channel": fields["channel"], "text": fields["text"], "ts": stamp, **more}
        )
        return {"ok": True, "channel": fields["channel"], "ts": stamp}


def _files(fields: Fields, token: str) -> Answer:
    found = [{"id": "F01", "name": "plan.pdf", "title": "The plan", "size": 9, "user": "U0BOB"}]
    paging = {"total": 1, "page": 1, "pages": 1}
    return {"ok": True, "files": {"matches": found, "paging": paging}}


def _link(fields: Fields, token: str) -> Answer:
    stamp = fields["message_ts"].replace(".", "")
    link = f"https://lab.slack.example/archives/{fields['channel']}/p{stamp}"
    return {"ok": True, "permalink": link}


def _page(items: list[Answer], name: str, fields: Fields) -> Answer:
    begin = int(fields.get("cursor") or 0)
    end = begin + int(fields.get("limit") or 100)
    more = str(end) if end < len(items) else ""
    return {"ok": True, name: items[begin:end], "response_metadata": {"next_cursor": more}}


def no(error: str, **more: str) -> Answer:
    return {"ok": False, "error": error, **more}


def reply(answer: Answer, status: int = 200, **headers: str) -> Reply:
    told = {"Content-Type": "application/json; charset=utf-8", **headers}
    return Reply(status=status, headers=told, body=json.dumps(answer).encode())


def _plain(fields: Fields) -> Callable[[Answer], Answer]:
    """What goes along unseen is shown only to those who ask."""
    if fields.get("include_all_metadata"):
        return dict
    return lambda one: {key: value for key, value in one.items() if key != "metadata"}


def _member(name: str, word: str) -> Answer:
    profile = {"real_name": word.title(), "email": f"{word}@lab.example", "title": "Researcher"}
    return {"id": name, "name": word, "profile": profile, "tz": "Europe/Berlin"}
