"""Tools with which an agent learns which secrets it may use, and makes new ones. Never a value."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from holdfast.core.error import HoldfastError
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.core.reference import reference
from holdfast.ports.secrets import Made, Secrets, Terms
from holdfast.ports.tools import Job, Tool, Traits

from .craft import Craft

_Name = Annotated[str, Meta(description="Its name, like github or mail/password.", min_length=1)]


class SecretList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """List the secrets that you may use, as the references to write where a tool takes one.

    You never see a value: write the reference, and it is filled in when the tool runs.
    """


class SecretExists(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Find out whether there is a secret of this name that you may use."""

    name: _Name


class SecretGenerate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a new secret, for example a password, that you may use and nobody sees."""

    name: _Name
    length: Annotated[int, Meta(description="Characters.", ge=8, le=512)] = 32
    charset: Annotated[
        Literal["urlsafe", "hex", "alphanumeric"], Meta(description="Which characters.")
    ] = "urlsafe"


def secret_tools(secrets: Secrets) -> list[Tool]:
    """`secret_list`, `secret_exists` and `secret_generate`."""

    async def listed(_: SecretList, job: Job) -> Outcome:
        names = await secrets.names(job.agent)
        return Returned(text="\n".join(map(reference, names)) or "you may use no secret")

    async def exists(asked: SecretExists, job: Job) -> Outcome:
        there = asked.name in await secrets.names(job.agent)
        said = f"yes: {reference(asked.name)}" if there else "no, or you may not use it"
        return Returned(text=said)

    async def generated(asked: SecretGenerate, job: Job) -> Outcome:
        made = Made(length=asked.length, charset=asked.charset)
        terms = Terms(grants=(job.agent,), note=f"made by {job.agent} in {job.task}")
        try:
            await secrets.generate(asked.name, made, terms, by=job.task)
        except HoldfastError as error:
            return Failed(text=f"{error} {error.hint}".strip(), code=error.code)
        return Returned(text=reference(asked.name))

    reads = Traits(effect=EffectClass.READS, target="name")
    writes = Traits(effect=EffectClass.WRITES, target="name")
    return [
        Craft("secret_list", SecretList, Traits(effect=EffectClass.READS), listed),
        Craft("secret_exists", SecretExists, reads, exists),
        Craft("secret_generate", SecretGenerate, writes, generated),
    ]
