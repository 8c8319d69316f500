"""Policies that have a name: what people mean by *let it read*, *let it code*."""

from __future__ import annotations

from .policy import Rule, Say

_READS = Rule(say=Say.ALLOW, effect="reads", name="preset: reading is allowed")
_LOCAL = ("read", "list", "glob", "search", "time", "wait", "ask_person", "plan", "read_apart")
_CHANGES = ("write", "edit", "append", "move", "delete")
_OUTSIDE = ("web_fetch", "web_search", "browser_open", "browser_snapshot")
_CREDENTIALS = (
    *("*.env", "*.env.*", ".env*", "*.pem", "*.key", "*credentials*", "*id_rsa*", "*id_ed25519*"),
    *("*.netrc", "*.pgpass", "*secret*"),
)
_DESTRUCTIVE = (
    *(("rm", "**", flags, "**") for flags in ("-*[rR]*", "--recursive")),
    *(("git", "**", "push", "**", flag, "**") for flag in ("-f", "--force*", "+*", "--delete")),
    *(
        ("git", "**", *words, "**")
        for words in (("reset", "**", "--hard"), ("clean", "**", "-*f*"))
    ),
    *((name, "**") for name in ("mkfs*", "dd", "shred", "truncate", "shutdown", "reboot")),
    ("**", "*[dD][rR][oO][pP] [tTdD][aA]*", "**"),
    ("find", "**", "-delete", "**"),
)
_CAREFUL = (
    Rule(
        say=Say.ASK,
        tools=("exec",),
        command=_DESTRUCTIVE,
        name="preset: what destroys for good asks",
    ),
    Rule(
        say=Say.DENY,
        tools=_CHANGES,
        paths=_CREDENTIALS,
        name="preset: credentials are not written",
        reason="files with credentials are not changed by agents",
    ),
)


def _asking(*labels: str) -> Rule:
    """Once something from outside was read, what nobody has said may be its author's wish."""
    return Rule(
        say=Say.ASK,
        labels=labels,
        name="preset: what nobody here has said asks",
        reason="somebody outside may be behind where this goes",
    )


_STRANGE = _asking("untrusted:*", "copied:*")
_UNSAID = tuple(
    Rule(
        say=Say.ASK,
        effect=effect,
        labels=labels,
        name="preset: whom nobody has named asks",
        reason="nobody has said where this goes",
    )
    for effect, labels in (("writes", ("unsaid:*",)), ("*", ("unsaid:mcp:*",)))
)


def _allowing(tools: tuple[str, ...], name: str) -> Rule:
    return Rule(say=Say.ALLOW, tools=tools, name=name)


PRESETS: dict[str, tuple[Rule, ...]] = {
    "nothing": (),
    "read-only": (
        _READS,
        _STRANGE,
        Rule(
            say=Say.DENY,
            effect="writes",
            name="preset read-only: nothing may be changed",
            reason="the preset is read-only",
        ),
        Rule(
            say=Say.DENY,
            effect="repeatable",
            name="preset read-only: nothing may be changed",
            reason="the preset is read-only",
        ),
    ),
    "ask": (
        _READS,
        _STRANGE,
        Rule(say=Say.ASK, effect="writes", name="preset ask: changing and executing asks"),
        Rule(say=Say.ASK, effect="repeatable", name="preset ask: changing and executing asks"),
    ),
    "workspace": (
        _READS,
        _STRANGE,
        Rule(say=Say.ASK, tool="exec", name="preset workspace: executing asks"),
        *(
            Rule(say=Say.ALLOW, tool=tool, name="preset workspace: files may be changed")
            for tool in ("write", "edit", "append", "move", "delete")
        ),
    ),
    "open": (Rule(say=Say.ALLOW, name="preset open: everything in the box is allowed"),),
    "reader": (_allowing(_LOCAL, "preset reader: files may be read"),),
    "researcher": (
        _allowing((*_LOCAL, *_OUTSIDE), "preset researcher: files and the web may be read"),
        _asking("untrusted:*"),
        Rule(
            say=Say.ASK,
            effects=("writes", "repeatable"),
            name="preset researcher: changing and executing asks",
        ),
    ),
    "coder": (
        _READS,
        _STRANGE,
        *_CAREFUL,
        _allowing((*_CHANGES, "exec"), "preset coder: files may be changed, commands may run"),
        Rule(
            say=Say.ASK, tools=("http", "browser_*"), name="preset coder: sending and browsing asks"
        ),
    ),
    "operator": (
        _STRANGE,
        *_UNSAID,
        *_CAREFUL,
        Rule(say=Say.ALLOW, name="preset operator: everything in the box is allowed"),
    ),
}

ABOUT: dict[str, str] = {
    "nothing": "Allows nothing: only your own rules count.",
    "read-only": "Reads; changes and executes nothing.",
    "ask": "Reads; changing and executing asks. The default.",
    "workspace": "Reads and changes files; executing asks.",
    "open": "Does everything that the box lets it do.",
    "reader": "Reads files of the workspace, and nothing else: no command, no web.",
    "researcher": "Reads files and the web; changing and executing asks.",
    "coder": "Changes files and executes; what destroys for good, sends or browses asks.",
    "operator": "Does everything; what destroys for good asks, credentials are not written.",
}
"""Each preset in one sentence."""
