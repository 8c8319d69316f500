"""The commands about tools by themselves."""

from __future__ import annotations

from .command import Command, Option

TOOLS = (
    Command(
        "tool list",
        "List the tools that agents have, or show one with what it takes.",
        "tools:tool_list",
        arguments=(("[NAME]", "one of them"),),
        takes=(0, 1),
        examples=(("holdfast tool list slack_post_as_me", "what it takes"),),
    ),
    Command(
        "tool use",
        "Use one tool by yourself: judged and written down like an agent's call.",
        "tools:tool_use",
        arguments=(("NAME", "which tool"), ("[KEY=VALUE…]", "what it takes; JSON, or plain text")),
        takes=(1, None),
        options=(
            Option("-C --workspace", "DIR", "the folder it works in (default: the current one)"),
            Option("--key", "KEY", "the same key again is the same use, not a second one"),
            Option("--wait", "SECONDS", "how long to wait for its end (60)", kind="number"),
        ),
        examples=(
            ("holdfast tool use list path=src", "what an agent would see"),
            ("holdfast tool use slack_dm_self text='ship it'", "asks you first, as your rules say"),
        ),
        more="It is a task with one call: `task show`, `approvals` and the audit have it.",
    ),
)
