"""What Slack's errors mean for whoever called a tool, and what to do about each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_IDS = "ids of channels look like C0123456789; slack_search_messages shows them"
_LOGIN = "a person must log in again: holdfast slack login {alias}"

MEANINGS: Mapping[str, str] = {
    "not_in_channel": "you are not in this channel: a person can join it in Slack",
    "channel_not_found": f"there is no such channel, or you cannot see it: {_IDS}",
    "is_archived": "the channel is archived: nothing can be posted there",
    "thread_not_found": "there is no such thread: `ts` is that of its first message",
    "message_not_found": "there is no such message in this channel",
    "user_not_found": "there is no such user: slack_search_users finds their ids",
    "users_not_found": "there is no such user: slack_search_users finds their ids",
    "user_not_visible": "you may not see this user",
    "user_disabled": "this user has left the workspace",
    "cannot_dm_bot": "bots take no direct messages",
    "no_text": "the text is empty",
    "msg_too_long": "the text is too long for one message: at most 40,000 characters",
    "restricted_action": "the workspace does not let you do this there",
    "not_authorized": "the workspace does not let you do this",
    "invalid_cursor": "this cursor is not valid any more: begin again without one",
    "bad_query": "Slack does not understand this query",
    "team_access_not_granted": "the app was not granted this workspace: an admin can do that",
    "org_login_required": "the workspace is being moved to an organisation: try again later",
    "access_denied": "Slack does not let this app do that here",
    "not_allowed_token_type": f"the token is none of a person: {_LOGIN}",
    "token_revoked": f"the login was taken back in Slack: {_LOGIN}",
    "token_expired": f"the login has ended: {_LOGIN}",
    "invalid_auth": f"Slack does not accept the login: {_LOGIN}",
    "not_authed": f"Slack does not accept the login: {_LOGIN}",
    "account_inactive": f"the account or the workspace was deactivated: {_LOGIN}",
}
STALE = frozenset({"token_expired", "invalid_auth"})
"""A token that may merely have been rotated elsewhere, or ended early."""

IN_DOUBT = frozenset({"fatal_error", "internal_error", "service_unavailable", "request_timeout"})
"""Slack broke down in the middle of it: it may or may not have been done."""


def meaning(word: str, told: Mapping[str, Any], alias: str) -> str:
    """A sentence for the model, with the word itself."""
    if word == "missing_scope":
        needed = str(told.get("needed") or "another scope")[:200]
        how = f"holdfast slack login {alias} --scopes …,{needed}"
        return f"Slack: missing_scope; the login lacks {needed}: a person can log in anew: {how}"
    said = MEANINGS.get(word, "").format(alias=alias)
    return f"Slack: {word}; {said}" if said else f"Slack says no: {word}"
