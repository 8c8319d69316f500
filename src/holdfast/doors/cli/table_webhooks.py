"""The commands about webhooks."""

from __future__ import annotations

from .command import Command, Option

_NAME = ("NAME", "the webhook's name, like ci")

WEBHOOKS = (
    Command(
        "webhook list",
        "List who is told what happens, and how that goes.",
        "webhooks:webhook_list",
        examples=(("holdfast webhook list", "what waits, and what was set aside"),),
    ),
    Command(
        "webhook add",
        "Tell an address what happens. The secret that signs it is shown once.",
        "webhooks:webhook_add",
        arguments=(_NAME, ("URL", "https://…")),
        takes=(2, 2),
        options=(
            Option("--on", "EVENT", "of which events (task.complete, task.failed)", repeats=True),
            Option("--private", "", "it is within your own network, perhaps without TLS"),
        ),
        examples=(
            ("holdfast webhook add ci https://ci.example.com/done", "done, or failed"),
            ("holdfast webhook add all https://example.com/hook --on '*'", "all that happens"),
        ),
        more="Messages are signed as Standard Webhooks has it. See docs/guides/http.md.",
    ),
    Command(
        "webhook test",
        "Send a message to a webhook now, and say what came of it.",
        "webhooks:webhook_test",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast webhook test ci", "does it arrive?"),),
    ),
    Command(
        "webhook messages",
        "List what has not arrived: what waits, and what was set aside.",
        "webhooks:webhook_messages",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast webhook messages ci", "with the reason of each"),),
    ),
    Command(
        "webhook retry",
        "Try once more what was set aside.",
        "webhooks:webhook_retry",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast webhook retry ci", "once the other side is well again"),),
    ),
    Command(
        "webhook remove",
        "Tell a webhook nothing any more.",
        "webhooks:webhook_remove",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast webhook remove ci", "its mail and its secret are gone"),),
    ),
)
