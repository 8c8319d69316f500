"""The configuration file that `init` writes: every key with its meaning, all commented out."""

from __future__ import annotations

import textwrap

from holdfast.config.shape import LISTS, at, sections
from holdfast.config.words import example, expected, in_toml

_HEAD = """\
# Holdfast reads this file at the start of the daemon; `holdfast serve restart` makes it count.
# Every key stands here with its default. To set one, uncomment it and the head of its table.
"""
_WIDTH = 110


def config_text() -> str:
    parts = [_HEAD]
    for section, keys in sections():
        parts.append(f"\n# {at((section,))['description']}\n# [{section}]\n")
        for name in keys:
            schema = at((section, name))
            unit = f" in {schema['unit']}" if schema.get("unit") else ""
            what = f"{schema.get('description', '')} ({expected(schema)}{unit})"
            parts.append(textwrap.indent(textwrap.fill(what, _WIDTH), "#   ") + "\n")
            default = schema.get("default")
            parts.append(
                f"# {name} = {in_toml(default) if default is not None else example(schema)}\n"
            )
    for name in LISTS:
        schema = at((name,))
        parts.append(f"\n# {schema['description']} For example:\n")
        for row in schema["examples"][0]:
            lines = [f"[[{name}]]", *(f"{key} = {in_toml(value)}" for key, value in row.items())]
            parts += [f"#   {line}\n" for line in lines]
    return "".join(parts)
