"""The commands about trust."""

from __future__ import annotations

from .command import Command, Option

_DOMAIN = ("DOMAIN", "a kind of work that the policy names, like email or deploy")
_AGENT = Option("--agent", "NAME", "for this agent alone (default: for all)")

TRUST = (
    Command(
        "trust show",
        "Show how far agents are trusted in which domain.",
        "trust:show",
        arguments=(("[DOMAIN]", "only this one, with what belongs to it"),),
        takes=(0, 1),
        options=(Option("--agent", "NAME", "as it is for this agent"),),
        examples=(("holdfast trust show email", "its level, since when, and what it covers"),),
        more="Domains stand in policy.toml. What was never granted is low: it asks.",
    ),
    Command(
        "trust grant",
        "Give a level of trust in a domain: none, low, medium or high.",
        "trust:grant",
        arguments=(_DOMAIN, ("LEVEL", "none denies, low asks, medium asks for several, high acts")),
        takes=(2, 2),
        options=(_AGENT, Option("--reason", "TEXT", "why, for who looks at it later")),
        examples=(
            ("holdfast trust grant email high", "it may send without asking"),
            ("holdfast trust grant deploy none --reason 'release week'", "nobody deploys"),
        ),
        more="Rules that deny or ask, labels, ceilings and budgets stand above every level.",
    ),
    Command(
        "trust revoke",
        "Take back what was granted in a domain: it asks again, at once.",
        "trust:revoke",
        arguments=(_DOMAIN,),
        takes=(1, 1),
        options=(_AGENT,),
        examples=(("holdfast trust revoke email", "back to low"),),
    ),
    Command(
        "trust audit",
        "Show what was done under trust, and what people overrode.",
        "trust:audit",
        arguments=(("[DOMAIN]", "only this one"),),
        takes=(0, 1),
        options=(
            Option("--days", "N", "how many days back (30)", kind="count"),
            Option("--agent", "NAME", "only what this agent did"),
        ),
        examples=(("holdfast trust audit email --days 7", "is high still right?"),),
        more="Advice needs five acts: 95% and more that stood: raise; 80%: keep; less: lower.",
    ),
)
