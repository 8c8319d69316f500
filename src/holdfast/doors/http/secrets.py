"""The routes about secrets: values go in, and none comes out."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct
from pydantic import Field

from holdfast.core.error import NotAllowed
from holdfast.core.ids import Instant
from holdfast.ports.secrets import Charset, Made, Secret
from holdfast.ports.vault import How
from holdfast.runtime import secrets

from .bodies import Body, Name, NoQuery, Nothing, Question
from .route import Ask, Entry

_Value = Annotated[str, Field(max_length=65_536)]
_Grants = Annotated[tuple[Annotated[str, Field(max_length=100)], ...], Field(max_length=100)]


class NewTerms(Body):
    """On which terms agents use it; what is left out stays as it is."""

    grants: _Grants | None = Field(
        default=None, strict=False, description="Shell patterns of agents; none may by default."
    )
    per_minute: int | None = Field(
        default=None, ge=0, le=600, description="Uses by one agent in a minute (5); 0: no limit."
    )
    max_uses: int | None = Field(
        default=None, ge=0, le=1 << 53, description="Uses in all; 0: no limit."
    )
    expires_at: int | None = Field(
        default=None, ge=0, le=1 << 53, description="Milliseconds since 1970; 0: never."
    )
    note: Annotated[str, Field(max_length=500)] | None = None

    def given(self) -> dict[str, object]:
        told = self.model_dump(exclude={"name", "value"})
        return {name: value for name, value in told.items() if value is not None}


class NewSecret(NewTerms):
    """A secret's value, or only other terms for one that is there. It is never shown."""

    name: Name
    value: _Value | None = Field(default=None, repr=False)


class ToGenerate(Body):
    """What to make."""

    name: Name
    length: int = Field(default=32, ge=8, le=512)
    charset: Charset = "urlsafe"


class ToGrant(Body):
    """Who may use it: an agent's name, or a shell pattern."""

    name: Name
    agent: Annotated[str, Field(min_length=1, max_length=100)]


class Named(Body):
    """Which one."""

    name: Name


class Which(Question):
    """Which one; none: all of them."""

    name: Name = ""


class ToImport(Body):
    """A file of NAME=value lines."""

    text: Annotated[str, Field(max_length=1_000_000, repr=False)] = Field(repr=False)
    prefix: Name = ""


class NewSeal(Body):
    """How the key of the vault is kept from now on."""

    how: How
    passphrase: _Value = Field(default="", repr=False)


class SecretList(Struct, frozen=True, kw_only=True):
    """What there is; never a value."""

    secrets: tuple[Secret, ...]


class UseRow(Struct, frozen=True, kw_only=True):
    """Who used which secret when."""

    at: Instant
    name: str
    agent: str
    task: str
    tool: str


class Uses(Struct, frozen=True, kw_only=True):
    """Who used them lately, newest first."""

    uses: tuple[UseRow, ...]


class Deleted(Struct, frozen=True, kw_only=True):
    """Whether there was one."""

    name: str
    deleted: bool


class VaultState(Struct, frozen=True, kw_only=True):
    """How the vault is sealed; `sealed`: entries that were sealed anew just now."""

    kept: How
    secrets: int
    sealed: int | None = None


async def secret_list(ask: Ask[NoQuery, Nothing]) -> SecretList:
    return SecretList(secrets=tuple(await secrets.everything(ask.house)))


async def secret_put(ask: Ask[NoQuery, NewSecret]) -> Secret:
    told, given = ask.body, ask.body.given()
    if told.value is None:
        return await secrets.change(ask.house, told.name, given, by=ask.by)
    made = await secrets.put(ask.house, told.name, told.value, by=ask.by)
    return await secrets.change(ask.house, told.name, given, by=ask.by) if given else made


async def secret_generate(ask: Ask[NoQuery, ToGenerate]) -> Secret:
    told = ask.body
    made = Made(length=told.length, charset=told.charset)
    return await secrets.generate(ask.house, told.name, made, by=ask.by)


async def secret_grant(ask: Ask[NoQuery, ToGrant]) -> Secret:
    return await secrets.grant(ask.house, ask.body.name, ask.body.agent, by=ask.by)


async def secret_revoke(ask: Ask[NoQuery, ToGrant]) -> Secret:
    told = ask.body
    return await secrets.grant(ask.house, told.name, told.agent, by=ask.by, take_back=True)


async def secret_delete(ask: Ask[NoQuery, Named]) -> Deleted:
    gone = await secrets.delete(ask.house, ask.body.name, by=ask.by)
    return Deleted(name=ask.body.name, deleted=gone)


async def secret_import(ask: Ask[NoQuery, ToImport]) -> SecretList:
    made = await secrets.take_in(ask.house, ask.body.text, ask.body.prefix, by=ask.by)
    return SecretList(secrets=tuple(made))


async def secret_uses(ask: Ask[Which, Nothing]) -> Uses:
    found = await secrets.uses(ask.house, ask.query.name)
    rows = [
        UseRow(at=use.at, name=name, agent=use.agent, task=use.task, tool=use.tool)
        for name, use in found
    ]
    return Uses(uses=tuple(rows))


async def vault_status(ask: Ask[NoQuery, Nothing]) -> VaultState:
    return await _state(ask)


async def vault_rotate(ask: Ask[NoQuery, Nothing]) -> VaultState:
    return await _state(ask, await secrets.rotate(ask.house, by=ask.by))


async def vault_seal(ask: Ask[NoQuery, NewSeal]) -> VaultState:
    if not ask.local:
        what = "the vault is sealed otherwise only from this machine"
        raise NotAllowed(what, code="local_only", hint="holdfast vault seal")
    told = ask.body
    count = await secrets.seal(ask.house, told.how, told.passphrase, by=ask.by)
    return await _state(ask, count)


async def _state(
    ask: Ask[NoQuery, Nothing] | Ask[NoQuery, NewSeal], sealed: int | None = None
) -> VaultState:
    count = len(await secrets.everything(ask.house))
    return VaultState(kept=secrets.kept(ask.house), secrets=count, sealed=sealed)


SECRET_ROUTES: tuple[Entry, ...] = (
    Entry(
        "GET", "/api/v1/secrets", secret_list, "Which secrets there are; never a value.", SecretList
    ),
    Entry(
        "POST",
        "/api/v1/secrets",
        secret_put,
        "Keep a secret, or change the terms of one. Its value is never shown again.",
        Secret,
        body=NewSecret,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/secrets/generate",
        secret_generate,
        "Make a secret that nobody sees.",
        Secret,
        body=ToGenerate,
        errors=(409, 503),
    ),
    Entry(
        "POST",
        "/api/v1/secrets/grant",
        secret_grant,
        "Let an agent use a secret by its reference.",
        Secret,
        body=ToGrant,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/secrets/revoke",
        secret_revoke,
        "Let it no longer.",
        Secret,
        body=ToGrant,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/secrets/delete",
        secret_delete,
        "Forget a secret.",
        Deleted,
        body=Named,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/secrets/import",
        secret_import,
        "Keep every NAME=value of a file.",
        SecretList,
        body=ToImport,
        errors=(503,),
    ),
    Entry(
        "GET",
        "/api/v1/secrets/uses",
        secret_uses,
        "Who used a secret, or any.",
        Uses,
        query=Which,
    ),
    Entry("GET", "/api/v1/vault", vault_status, "How the vault is sealed.", VaultState),
    Entry(
        "POST",
        "/api/v1/vault/rotate",
        vault_rotate,
        "Seal everything with a new key.",
        VaultState,
        errors=(503,),
    ),
    Entry(
        "POST",
        "/api/v1/vault/seal",
        vault_seal,
        "Keep the vault's key in another way; Unix socket only.",
        VaultState,
        body=NewSeal,
        errors=(503,),
    ),
)
