"""What the vault is given: its passphrase, secrets to keep, and values that nobody may say."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from holdfast.core import dotenv
from holdfast.core.error import Invalid, NotAllowed
from holdfast.core.scrub import secret_variables

from .read import Config

PLANTED = "HOLDFAST_SECRET_"
_LONGEST = 1 << 20
_LONG_ENOUGH = 12
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def to_passphrase(config: Config) -> str:
    """What opens the vault; empty if nothing was said. Raises `Invalid`, `NotAllowed`."""
    if told := config.vault.passphrase.get_secret_value():
        return told
    if not config.vault.passphrase_file:
        return ""
    path = _path(config, config.vault.passphrase_file)
    text = _text(path, "vault.passphrase_file")
    if path.stat().st_mode & _OTHERS:
        what = f"vault.passphrase_file: others may read {path}"
        raise NotAllowed(what, code="exposed", hint=f"chmod 600 {path}")
    if not (passphrase := text.partition("\n")[0].strip()):
        raise Invalid(f"vault.passphrase_file: {path} is empty", code="bad_config")
    return passphrase


def to_planted(config: Config, environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Secrets to keep at the start, by their names: of the file, then of the environment."""
    found: dict[str, str] = {}
    if config.vault.env_file:
        path = _path(config, config.vault.env_file)
        try:
            pairs = dotenv.parsed(_text(path, "vault.env_file"))
        except Invalid as wrong:
            raise Invalid(f"vault.env_file: {path}: {wrong}", code=wrong.code) from None
        found |= {name.removeprefix(PLANTED).lower(): value for name, value in pairs}
    found |= {
        name.removeprefix(PLANTED).lower(): value
        for name, value in environment.items()
        if name.startswith(PLANTED) and name != PLANTED
    }
    return [(name, value) for name, value in found.items() if value.strip()]


def to_unsayable(config: Config, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Values that are in no vault and must not be said either, with what they are called."""
    providers = config.models.providers
    for name, one in providers.items():
        if key := one.api_key.get_secret_value():
            yield f"models.providers.{name}.api_key", key
    if passphrase := to_passphrase(config):
        yield "vault.passphrase", passphrase
    named = {one.api_key_env for one in providers.values()}
    for name in secret_variables(environment, config.vault.scrub, lambda _: False):
        if len(environment[name]) >= _LONG_ENOUGH or name in named:
            yield name, environment[name]


def check_box(config: Config, holds: Callable[[str], bool]) -> None:
    """Raises `Invalid` where the configuration itself would hand a secret to every box."""
    given = config.box.environment
    if found := secret_variables(given, config.vault.scrub, holds):
        hint = "agents use secrets by reference: see docs/guides/secrets.md"
        what = f"box.environment: {', '.join(found)} would give a secret to every command"
        raise Invalid(what, code="secret_in_box", hint=hint)


def _path(config: Config, name: str) -> Path:
    return config.path.parent / Path(name).expanduser()


def _text(path: Path, key: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise Invalid(f"{key}: {path} is too long", code="bad_config")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Invalid(f"{key}: {path} cannot be read: {why}", code="bad_config") from None
