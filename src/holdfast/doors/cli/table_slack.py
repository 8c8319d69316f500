"""The commands about Slack workspaces."""

from __future__ import annotations

from .command import Command, Option

_ALIAS = ("[ALIAS]", "what you call the workspace here (default)")

SLACK = (
    Command(
        "slack login",
        "Connect a Slack workspace: agents read it, and post, as you.",
        "slack:slack_login",
        arguments=(_ALIAS,),
        takes=(0, 1),
        options=(
            Option("--client-id", "ID", "the id of your Slack app; kept for the next login"),
            Option("--client-secret-stdin", "", "read the app's secret from stdin; kept as well"),
            Option("--team", "ID", "the workspace that it must be, like T0123456789"),
            Option("--scopes", "LIST", "what you agree to, with commas (what the tools need)"),
            Option("--redirect", "URL", "where the browser ends; the app must have it"),
            Option("--port", "PORT", "or only the port here that it ends at (7898)", kind="count"),
            Option("--no-browser", "", "show the address, and open nothing"),
            Option("--paste", "", "read the address that the browser ended at from stdin"),
        ),
        examples=(
            ("holdfast slack login --client-id 123.456", "the first time: asks for the secret"),
            ("holdfast slack login work --team T0123456789", "a second one, and only that"),
        ),
        more="The tokens are sealed in the vault, renewed in time and put in on the way out; no"
        " agent sees them. docs/guides/slack.md says how to make the app.",
    ),
    Command(
        "slack status",
        "Show which workspaces are connected, as whom, and until when.",
        "slack:slack_status",
        arguments=(("[ALIAS]", "one of them"),),
        takes=(0, 1),
        examples=(("holdfast slack status", "all of them"),),
    ),
    Command(
        "slack logout",
        "Forget a workspace, and have Slack take the token back.",
        "slack:slack_logout",
        arguments=(_ALIAS,),
        takes=(0, 1),
        options=(Option("--local-only", "", "do not ask Slack to take the token back"),),
        examples=(("holdfast slack logout work", "its tools are gone at once"),),
    ),
)
