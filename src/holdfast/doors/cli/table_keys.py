"""The commands about keys of the HTTP door."""

from __future__ import annotations

from .command import Command, Option

_NAME = ("NAME", "the key's name, like ci or phone")

KEYS = (
    Command(
        "key list",
        "List the keys for the HTTP door, and the scopes there are.",
        "keys:key_list",
        examples=(("holdfast key list", "who may come, and for what"),),
    ),
    Command(
        "key create",
        "Make a key. It is shown once; only its hash is kept.",
        "keys:key_create",
        arguments=(_NAME,),
        takes=(1, 1),
        options=(
            Option("--scope", "SCOPE", "what it is for; `key list` shows all", repeats=True),
            Option("--agent", "NAME", "for which agents: a shell pattern (all)", repeats=True),
            Option("--rate", "N", "requests a minute; 0: no limit (0)", kind="count"),
            Option("--burst", "N", "requests that may come at once (10)", kind="count"),
            Option("--expires", "DAYS", "days until it opens nothing; 0: never", kind="number"),
        ),
        examples=(
            ("holdfast key create ci --scope tasks.read --scope tasks.write", "prints the key"),
            ("holdfast key create phone --scope approve --rate 60 --expires 90", "for a while"),
        ),
        more="Programs send it as `Authorization: Bearer KEY`. What it does is done by key:NAME.",
    ),
    Command(
        "key revoke",
        "Take a key back: it opens nothing from then on.",
        "keys:key_revoke",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast key revoke ci", "at once, and for ever"),),
    ),
)
