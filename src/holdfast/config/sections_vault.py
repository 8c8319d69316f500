"""The table `[vault]`: where secrets come from, and which variables are some."""

from __future__ import annotations

from pydantic import Field, SecretStr

from .section import Section, word

SCRUBBED = (
    "*_API_KEY",
    "*_TOKEN",
    "*_SECRET",
    "*_SECRET_*",
    "*_ACCESS_KEY",
    "*PASSWORD*",
    "SECRET_*",
)


class Vault(Section):
    """Secrets: how the vault is opened, what is imported, and which variables are secrets."""

    passphrase: SecretStr = Field(
        default=SecretStr(""),
        strict=False,
        description="Opens a vault that is sealed with one; better: `passphrase_file`.",
        examples=["…"],
    )
    passphrase_file: str = word(
        "", "A file whose first line is the passphrase, for you alone.", "/run/secrets/holdfast"
    )
    env_file: str = word(
        "", "A file of NAME=value lines whose values are kept at each start.", "~/agents.env"
    )
    scrub: tuple[str, ...] = Field(
        default=SCRUBBED,
        strict=False,
        description="Shell patterns of variables that are secrets: their values are redacted, and "
        "`box.environment` must not have them.",
        examples=[["*_API_KEY", "*_TOKEN"]],
    )
    redact_patterns: bool = word(
        False, "Hide from models what looks like a secret, and put it back into their answers."
    )
