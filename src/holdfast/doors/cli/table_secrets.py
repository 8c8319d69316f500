"""The commands about secrets and the vault."""

from __future__ import annotations

from .command import Command, Option

_NAME = ("NAME", "its name, like github or mail/password")
_AGENT = ("AGENT", "an agent's name, or a shell pattern such as crew-*")

SECRETS = (
    Command(
        "secret list",
        "List the secrets, who may use each, and how often it was used. Never a value.",
        "secrets:secret_list",
        examples=(("holdfast secret list", "names and terms"),),
        more="Agents use a secret by writing $SECRET{name} where a tool takes one.",
    ),
    Command(
        "secret set",
        "Keep a secret, or change on which terms it is used.",
        "secrets:secret_set",
        arguments=(_NAME,),
        takes=(1, 2),
        options=(
            Option("--stdin", "", "read the value from stdin; it is never an argument"),
            Option("--keep", "", "leave the value as it is: change only the terms"),
            Option("--grant", "AGENT", "who may use it", repeats=True),
            Option(
                "--per-minute", "N", "uses by one agent in a minute (5); 0: no limit", kind="count"
            ),
            Option("--max-uses", "N", "uses in all; 0: no limit", kind="count"),
            Option("--expires", "DAYS", "days until nobody may use it; 0: never", kind="number"),
            Option("--note", "TEXT", "what it is for"),
        ),
        examples=(
            ("holdfast secret set github", "asks for the value, without showing it"),
            (
                "pass show github | holdfast secret set github --stdin --grant default",
                "from a pipe",
            ),
            ("holdfast secret set github --keep --per-minute 30", "only the terms"),
        ),
    ),
    Command(
        "secret generate",
        "Make a secret that nobody sees.",
        "secrets:secret_generate",
        arguments=(_NAME,),
        takes=(1, 1),
        options=(
            Option("--length", "N", "how many characters (32)", kind="count"),
            Option("--charset", "SET", "urlsafe, hex or alphanumeric"),
        ),
        examples=(("holdfast secret generate db/password --length 40", "prints its reference"),),
    ),
    Command(
        "secret grant",
        "Let an agent use a secret by its reference.",
        "secrets:secret_grant",
        arguments=(_NAME, _AGENT),
        takes=(2, 2),
        examples=(("holdfast secret grant github default", "and nobody else"),),
    ),
    Command(
        "secret revoke",
        "Let an agent no longer use a secret.",
        "secrets:secret_revoke",
        arguments=(_NAME, _AGENT),
        takes=(2, 2),
        examples=(("holdfast secret revoke github default", "from its next use on"),),
    ),
    Command(
        "secret delete",
        "Forget a secret.",
        "secrets:secret_delete",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast secret delete github", "safe to repeat"),),
    ),
    Command(
        "secret import",
        "Keep every NAME=value of a file; names become lower case.",
        "secrets:secret_import",
        arguments=(("FILE", "a .env file; - reads stdin"),),
        takes=(1, 1),
        options=(Option("--prefix", "TEXT", "what the names begin with, like shop/"),),
        examples=(("holdfast secret import .env --prefix shop/", "then delete the file"),),
    ),
    Command(
        "secret show-uses",
        "Show who used a secret lately, in which task, with which tool.",
        "secrets:secret_uses",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast secret show-uses github", "the latest fifty"),),
    ),
    Command(
        "vault status",
        "Show how the vault is sealed.",
        "secrets:vault_status",
        examples=(("holdfast vault status", "where its key is"),),
    ),
    Command(
        "vault seal",
        "Keep the vault's key in another way, and make it a new one.",
        "secrets:vault_seal",
        options=(
            Option("--file", "", "in a private file of the home"),
            Option("--passphrase", "", "wrapped by a passphrase, which is asked for"),
            Option("--keyring", "", "in the system's keyring; needs holdfast[keyring]"),
            Option("--stdin", "", "read the passphrase from stdin"),
        ),
        examples=(
            ("holdfast vault seal --passphrase", "the daemon needs it at its next start"),
            ("holdfast vault seal --file", "back to a file"),
        ),
        more="At its next start the daemon reads a passphrase from HOLDFAST_VAULT_PASSPHRASE_FILE"
        " or HOLDFAST_VAULT_PASSPHRASE. Cut off at any moment, the vault can still be opened.",
    ),
    Command(
        "vault rotate",
        "Seal everything with a new key.",
        "secrets:vault_rotate",
        examples=(("holdfast vault rotate", "kept as before"),),
    ),
)
