"""Reads file, environment and command line into one `Config`, or tells every problem."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import ValidationError

from holdfast.core.error import Invalid, NotAllowed
from holdfast.core.ids import digest

from .sections import Settings
from .shape import LISTS, Loc, at, sections
from .words import by_name, example, expected, in_toml, line, masked, meant, problem, short

MAX_BYTES = 1 << 20
PREFIX = "HOLDFAST"
_SHORT: Mapping[str, tuple[str, str]] = {
    "HOLDFAST_MODEL": ("models", "default"),
    "CHAT_REQUEST_TIMEOUT_SECS": ("models", "first_token_seconds"),
    "STREAM_REQUEST_TIMEOUT_SECS": ("models", "total_seconds"),
}
_POSITION = re.compile(r"\s*\(at line (\d+), column (\d+)\)")
_HINT = "every key is in docs/reference/config.md"
POLICY = "policy.toml"
POLICY_HINT = "how to write a policy: docs/guides/policy.md"


class Setting(NamedTuple):
    """One effective value; `source`: default, file, policy.toml, command line or a variable."""

    key: str
    value: str
    source: str


Stamp = tuple[int, int, int]


def stamp(path: Path) -> Stamp:
    """Changes when the file does."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


class Config(Settings):
    """The configuration in force. `sources` says where each key that is not a default was set.

    `stamps` are those of its files, from just before they were read.
    """

    home: Path
    path: Path
    sources: Mapping[str, str]
    stamps: tuple[Stamp, ...] = ()
    warnings: tuple[str, ...] = ()

    def describe(self) -> list[Setting]:
        """Every key with its value, secrets masked, and its source."""
        found: list[Setting] = []
        for section, _ in sections():
            for name, value in by_name(getattr(self, section)):
                key = f"{section}.{name}"
                shown = in_toml(masked(key, value))
                found.append(Setting(key, shown, self.sources.get(key, "default")))
        for name in LISTS:
            shown = in_toml(masked(name, getattr(self, name)))
            found.append(Setting(name, shown, self.sources.get(name, "default")))
        return found

    def fingerprint(self) -> str:
        """Equal for configurations that say the same, whatever their secrets are."""
        return "cfg-" + digest([[row.key, row.value] for row in self.describe()])[:16]


def load(
    overrides: Mapping[str, Any] | None = None, *, environment: Mapping[str, str] | None = None
) -> Config:
    """The command line beats the environment, which beats the file, which beats the defaults.

    `overrides` come from the command line: `section.key` -> value. An empty variable counts as
    not set. Raises `Invalid` (bad_config) naming every problem on its own line, and `NotAllowed`
    (exposed) for a host that others can reach in the clear.
    """
    env = os.environ if environment is None else environment  # noqa: TID251 - the one place
    home, named = home_folder(env), env.get(f"{PREFIX}_CONFIG")
    path = Path(named).expanduser().absolute() if named else home / "config.toml"
    policy = home / POLICY
    stamps = (stamp(path), stamp(policy))
    text = text_of(path, required=f"{PREFIX}_CONFIG" if named else "")
    told = parsed(path, text)
    sources = dict.fromkeys(_keys(told), "file")
    rules = _rules_of(policy)
    problems = _laid_in(told, sources, parsed(policy, rules), (path, policy))
    problems += _overlay(told, sources, env)
    for key, value in (overrides or {}).items():
        _put(told, sources, key, value, "command line")
    try:
        settings = Settings.model_validate(told)
    except ValidationError as failure:
        for found in failure.errors(include_url=False):
            texts = {"file": (path, text), POLICY: (policy, rules)}
            problems.append(
                f"{_place(texts, sources, found['loc'])}: {problem(found['loc'], found)}"
            )
        raise Invalid("\n".join(problems), code="bad_config", hint=_HINT) from None
    if problems:
        raise Invalid("\n".join(problems), code="bad_config", hint=_HINT)
    return _checked(settings, home, path, sources).model_copy(update={"stamps": stamps})


def home_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of this installation: HOLDFAST_HOME, or ~/.holdfast."""
    env = os.environ if environment is None else environment  # noqa: TID251 - the one place
    return Path(env.get(f"{PREFIX}_HOME") or "~/.holdfast").expanduser().absolute()


def text_of(path: Path, *, required: str = "") -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise _bad(path, f"the file has {size} bytes; a configuration has at most {MAX_BYTES}")
        data = path.read_bytes()
    except FileNotFoundError:
        if required:
            raise _bad(path, f"there is no such file, but {required} names it") from None
        return ""
    except OSError as error:
        raise _bad(path, f"cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise _bad(f"{path}:{row}", f"not UTF-8: byte 0x{data[error.start]:02x}") from error


def _rules_of(path: Path) -> str:
    """The text of the policy. One without a word is no policy: it may be half of one."""
    text = text_of(path)
    if not text.strip() and path.exists():
        hint = 'remove it, or write what is wanted, for example preset = "ask"'
        raise Invalid(f"{path}: the file is empty", code="bad_config", hint=hint)
    return text


def parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _bad(path, "nested too deeply") from None
    except ValueError as error:
        found = _POSITION.search(str(error))
        where = f"{path}:{found[1]}:{found[2]}" if found else path
        raise _bad(where, f"not valid TOML: {_POSITION.sub('', str(error))}") from error


def _bad(where: Path | str, what: str) -> Invalid:
    return Invalid(f"{where}: {what}", code="bad_config", hint=_HINT)


def _keys(told: Mapping[str, Any]) -> Iterator[str]:
    for section, table in told.items():
        if isinstance(table, dict):
            yield from (f"{section}.{name}" for name in cast("dict[str, Any]", table))
        elif section in LISTS:
            yield section


def _laid_in(
    told: dict[str, Any],
    sources: dict[str, str],
    policy: Mapping[str, Any],
    files: tuple[Path, Path],
) -> list[str]:
    """Lay the file of the policy into the configuration; returns what is said in both."""
    if not policy or not isinstance(told.get("policy", {}), dict):
        return []
    here = cast("dict[str, Any]", told.get("policy", {}))
    twice = sorted(here.keys() & policy.keys())
    told["policy"] = {**here, **policy}
    sources.update(dict.fromkeys((f"policy.{name}" for name in policy), POLICY))
    path, file = files
    return [
        f"{file}: {name} is also under [policy] in {path}: keep it here alone" for name in twice
    ]


def _overlay(told: dict[str, Any], sources: dict[str, str], env: Mapping[str, str]) -> list[str]:
    """Lay the environment over the file; returns what is wrong in it."""
    known = {
        f"{PREFIX}_{section}_{name}".upper(): (section, name)
        for section, keys in sections()
        for name in keys
    }
    starts = tuple(f"{PREFIX}_{section}_".upper() for section, _ in sections())
    problems: list[str] = []
    # A short name is laid down first, so that the exact one wins.
    for name in sorted(env, key=lambda name: (name not in _SHORT, name)):
        place = _SHORT.get(name) or known.get(name)
        if place is None:
            if name.startswith(starts):
                problems.append(f"{name}: unknown variable{meant(name, list(known))}")
        elif env[name]:
            try:
                value = _value(place, env[name])
            except ValueError:
                shape = at(place)
                wanted = f"expected {expected(shape)}, found {short(env[name], shape)}"
                problems.append(f"{name}: {wanted}; for example {name}={example(shape)}")
            else:
                _put(told, sources, ".".join(place), value, name)
    return problems


def _value(place: Loc, text: str) -> Any:
    """A variable's text as the key's value: a text as it is, everything else as TOML."""
    if at(place).get("type") == "string":
        return text
    try:
        found = tomllib.loads(f"value = {text}")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if set(found) != {"value"}:
        raise ValueError("more than one value")
    return found["value"]


def _put(told: dict[str, Any], sources: dict[str, str], key: str, value: Any, source: str) -> None:
    section, _, name = key.partition(".")
    table = told.setdefault(section, {})
    if isinstance(table, dict):
        table[name] = value
        sources[key] = source


def _place(texts: Mapping[str, tuple[Path, str]], sources: Mapping[str, str], loc: Loc) -> str:
    source = sources.get(".".join(map(str, loc[:2])), "file")
    if source not in texts:
        return source
    path, text = texts[source]
    return f"{path}:{line(text, loc[1:] if source == POLICY else loc)}"


def _checked(settings: Settings, home: Path, path: Path, sources: Mapping[str, str]) -> Config:
    server = settings.server
    if server.exposed and server.tls == "off":
        what = f"server.host {server.host!r} is reached by others, and without TLS in the clear"
        hint = 'set server.tls = "own" or "files"; or use 127.0.0.1, ::1 or localhost'
        raise NotAllowed(what, code="exposed", hint=hint)
    if server.tls == "files" and not (server.certificate and server.certificate_key):
        what = f"{path}: server.tls = files needs server.certificate and server.certificate_key"
        raise Invalid(what, code="bad_config", hint=_HINT)
    return Config.model_construct(
        **{name: getattr(settings, name) for name in Settings.model_fields},
        home=home,
        path=path,
        sources=sources,
        warnings=tuple(_doubts(settings, path, sources)),
    )


def _doubts(settings: Settings, path: Path, sources: Mapping[str, str]) -> Iterator[str]:
    yield from settings.egress.doubts()
    if settings.server.tls != "files" and settings.server.certificate:
        yield 'server.certificate is not used without server.tls = "files"'
    if sources.get("vault.passphrase") == "file":
        yield "vault.passphrase is beside what it protects: prefer vault.passphrase_file"
    keys = [n for n, p in settings.models.providers.items() if p.api_key.get_secret_value()]
    for name in keys:
        yield f"models.providers.{name}.api_key is a key in plain text: prefer api_key_env"
    if keys and sources.get("models.providers") == "file":
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            yield f"{path} holds a key and others may read it (mode {mode:o}): chmod 600 it"
