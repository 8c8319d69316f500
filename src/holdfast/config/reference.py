"""The reference page of every key, written from the fields themselves."""

from __future__ import annotations

from .read import PREFIX
from .shape import Schema, at, definition, sections
from .words import expected, in_toml

_TABLES = (
    ("[[budget]]", "BudgetRow"),
    ('[models.price."NAME"]', "Price"),
    ("[models.providers.NAME]", "Provider"),
    ("[models.logins]", "Logins"),
    ("[models.logins.clients.NAME]", "LoginClient"),
    ("[models.roles.NAME]", "Role"),
    ("[[policy.rule]]", "RuleRow"),
    ("[policy.ceiling.NAME]", "CeilingTable"),
    ("[policy.domain.NAME]", "DomainTable"),
    ("[[policy.answer]]", "AnswerTable"),
    ("[agent.output]", "Output"),
    ("[web.search.NAME]", "SearchEngine"),
)


def reference() -> str:
    """Every key as Markdown tables."""
    parts: list[str] = []
    for section, keys in sections():
        rows = [_row(name, at((section, name)), section) for name in keys]
        head = "| key | default | may be | environment | what |\n|---|---|---|---|---|\n"
        about = at((section,))["description"]
        parts.append(f"## [{section}]\n\n{about}\n\n{head}{''.join(rows)}")
    for title, name in _TABLES:
        table = definition(name)
        rows = [_row(key, schema, "") for key, schema in table["properties"].items()]
        head = "| key | default | may be | what |\n|---|---|---|---|\n"
        parts.append(f"## {title}\n\n{table['description']}\n\n{head}{''.join(rows)}")
    return "\n".join(parts)


def _row(name: str, schema: Schema, section: str) -> str:
    default = f"`{in_toml(schema['default'])}`" if "default" in schema else "required"
    unit = f" ({schema['unit']})" if schema.get("unit") else ""
    variable = f" `{PREFIX}_{section.upper()}_{name.upper()}` |" if section else ""
    return (
        f"| `{name}` | {default} | {expected(schema)}{unit} |{variable} {schema['description']} |\n"
    )
