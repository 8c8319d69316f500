"""The commands about agents elsewhere."""

from __future__ import annotations

from .command import Command, Option

_NAME = ("NAME", "the agent's name here, like lawyer")

PEERS = (
    Command(
        "peer list",
        "List the agents elsewhere that yours may ask.",
        "peers:peer_list",
        examples=(("holdfast peer list", "each has a tool, ask_NAME"),),
        more="They speak A2A. See docs/guides/a2a.md.",
    ),
    Command(
        "peer add",
        "Add an agent elsewhere: yours get a tool that asks it.",
        "peers:peer_add",
        arguments=(_NAME, ("URL", "its host, or where its card is")),
        takes=(2, 2),
        options=(
            Option("--secret", "NAME", "the secret that it is shown as a bearer token"),
            Option("--agent", "NAME", "who may ask it: a shell pattern (all)", repeats=True),
            Option("--about", "TEXT", "what it is for, for your agents to read"),
            Option("--timeout", "SECONDS", "the longest an answer is waited for", kind="number"),
            Option("--private", "", "the url's name may lead to a private address"),
        ),
        examples=(
            (
                "holdfast peer add lawyer https://agents.example.com --secret peers/lawyer",
                "put the token in first: holdfast secret set peers/lawyer",
            ),
        ),
        more="The secret must be granted to whoever asks: holdfast secret grant. Each question is"
        " a call that writes: the policy says whether you are asked before.",
    ),
    Command(
        "peer test",
        "Fetch an agent's card, and say who it is and how long that took.",
        "peers:peer_test",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast peer test lawyer", "is it there?"),),
    ),
    Command(
        "peer remove",
        "Forget an agent that was added.",
        "peers:peer_remove",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast peer remove lawyer", "its tool is gone at once"),),
    ),
)
