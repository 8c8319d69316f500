"""The commands about policy."""

from __future__ import annotations

from .command import CHECKING, Command, Option

LEASE = (
    Option("--uses", "N", "how often (default: any number of times)", kind="count"),
    Option("--until", "SPAN", "how long: 2h, 30m, 7d or never (default: 1d)"),
)
_WHOM = Option("--for", "WHOM", "task:ID, session:ID, agent:NAME or all (default: all)")

POLICY = (
    Command(
        "policy show",
        "Show what agents may do, and which leave was given beforehand.",
        "policies:show",
        options=(Option("--agent", "NAME", "only what concerns this agent"),),
        examples=(("holdfast policy show --agent default", "its rules, ceilings and leases"),),
        more="Rules stand in policy.toml in the home; a change counts within two seconds.",
    ),
    Command(
        "policy check",
        "Check a file of policy before it counts.",
        "policy_file:check",
        arguments=(("[FILE]", "which (default: policy.toml in the home)"),),
        takes=(0, 1),
        examples=(("holdfast policy check new.toml", "every mistake with its line and column"),),
    ),
    Command(
        "policy explain",
        "Say whether a call would be allowed, by which rule, and what else matches.",
        "policies:explain",
        arguments=(
            ("[TOOL]", "the tool; with --task, which call"),
            ("[WORDS...]", "a command line, an address, or paths"),
        ),
        takes=(0, None),
        options=(
            Option("--task", "TASK", "a call of this task instead"),
            Option("--agent", "NAME", "who wants it (default: the configured agent)"),
            Option("--workspace", "DIR", "where paths begin"),
            Option("--preset", "NAME", "the preset of the task"),
            Option("--method", "NAME", "the HTTP method"),
            Option("--argument", "NAME=VALUE", "another argument", repeats=True),
            Option("--label", "LABEL", "where what led to it came from", repeats=True),
            Option("--at", "TIME", "when, e.g. 2026-11-28T23:00 (default: now)"),
            Option("--unattended", "", "nobody is there to answer"),
        ),
        examples=(
            ("holdfast policy explain exec 'git push'", "may the agent push?"),
            (
                "holdfast policy explain write a.py --label untrusted:web:example.com",
                "and if a page had led to it?",
            ),
            ("holdfast policy explain --task 3f2a91bc c2_1", "why was that asked?"),
        ),
    ),
    Command(
        "policy test",
        "Try a policy against expectations; stops at the first that is not met.",
        "policies:test",
        arguments=(("FILE", "a TOML file of [[expect]] tables"),),
        takes=(1, 1),
        options=(Option("--policy", "FILE", "try this policy (default: the one in force)"),),
        exits=CHECKING,
        examples=(("holdfast policy test expected.toml --policy new.toml", "before it counts"),),
    ),
    Command(
        "policy diff",
        "Say what a change of policy makes wider and narrower.",
        "policies:diff",
        arguments=(
            ("OLD", "a file of policy; alone, it is compared with the policy in force"),
            ("[NEW]", "another one"),
        ),
        takes=(1, 2),
        examples=(("holdfast policy diff new.toml", "before it replaces the one in force"),),
        more="Tried on the calls of the latest tasks, and on examples made of the rules.",
    ),
    Command(
        "policy grant",
        "Give leave beforehand, for so many times and so long.",
        "policies:grant",
        arguments=(("RULE", "`tool` or `tool:pattern`; for exec a pattern for each word"),),
        takes=(1, 1),
        options=(_WHOM, *LEASE, Option("--reason", "TEXT", "why, for the record")),
        examples=(
            (
                "holdfast policy grant 'exec:git push *' --for agent:default --uses 3 --until 2h",
                "three pushes, within two hours",
            ),
        ),
        more="It answers what would be asked; what is denied stays denied.",
    ),
    Command(
        "policy revoke",
        "Take a leave back, at once.",
        "policies:revoke",
        arguments=(("LEASE", "its id, or the end of it"),),
        takes=(1, 1),
        examples=(("holdfast policy revoke 4b1c7a02", "as `policy show` lists it"),),
    ),
)
