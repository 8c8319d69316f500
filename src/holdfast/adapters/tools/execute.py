"""The tool that runs a command line, in the box."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from msgspec import Meta, Struct

from holdfast.core.error import HoldfastError
from holdfast.core.message import EffectClass, Failed, Outcome, Returned
from holdfast.ports.box import Boxes, BoxLimits, BoxSpec, Exit
from holdfast.ports.tools import Job, Tool, Traits

from .beneath import Denied, Folder
from .craft import Craft
from .steering import Steering

_SHELL = 'if command -v bash >/dev/null; then exec bash -c "$0"; else exec sh -c "$0"; fi'
_LONGEST_LINE = 120_000


class Exec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a shell command in a box: it sees the workspace, a minimal system, and no network
    unless it was allowed. `/tmp` lasts while the task works; processes left behind are ended.
    """

    command: Annotated[str, Meta(description="A command line for the shell.", min_length=1)]
    cwd: Annotated[str, Meta(description="The folder to run it in.", min_length=1)] = "."
    timeout: Annotated[float, Meta(description="Seconds it may take.", gt=0)] | None = None


class BoxOptions(Struct, frozen=True, kw_only=True):
    """What every command's box shows and allows.

    `longest`: seconds that a call may ask for, or `limits.seconds` if that is more.
    """

    read_only: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    environment: Mapping[str, str] = {}
    limits: BoxLimits = BoxLimits()
    longest: float = 600.0
    requires: tuple[str, ...] = ()


def exec_tool(boxes: Boxes, options: BoxOptions, steering: Steering | None = None) -> Tool:
    """`steering` is shared with whatever else works in the same folders."""
    kept = (steering or Steering()).kept
    longest = max(options.longest, options.limits.seconds)

    async def do(asked: Exec, job: Job) -> Outcome:
        cwd = await to_thread.run_sync(_folder, asked.cwd, job)
        seconds = asked.timeout or options.limits.seconds
        spec = BoxSpec(
            workspace=job.workspace,
            agent=job.agent,
            read_only=options.read_only,
            hidden=(job.workspace / ".holdfast", *options.hidden),
            environment=options.environment,
            limits=options.limits,
            requires=options.requires,
        )
        argv = ["sh", "-c", _SHELL, asked.command]
        try:
            async with boxes.lend(job.task, spec) as box, kept(job.workspace) as restored:
                out = await box.exec(argv, cwd=cwd, seconds=seconds)
        except HoldfastError as error:
            return Failed(text=f"{error} {error.hint}".strip(), code=error.code)
        # What a flood has left is megabytes: decoding them here would keep others waiting.
        return await to_thread.run_sync(outcome, out, seconds, restored)

    def problem(asked: Exec) -> str:
        if asked.timeout and asked.timeout > longest:
            return f"`timeout` is at most {longest:g} seconds"
        if "\0" in asked.command:
            return "the command contains a NUL character"
        if len(asked.command.encode(errors="replace")) > _LONGEST_LINE:
            return "the command is too long; write it into a file and run that"
        return "" if asked.command.strip() else "the command is empty"

    traits = Traits(effect=EffectClass.WRITES, target="command", source="box")
    return Craft("exec", Exec, traits, do).vetted(problem)


def outcome(out: Exit, seconds: float, restored: Sequence[str] = ()) -> Outcome:
    """What a command said and how it ended."""
    parts = [out.stdout.decode(errors="replace")]
    if errors := out.stderr.decode(errors="replace"):
        parts.append(f"[stderr]\n{errors}")
    if out.cut:
        kept = len(out.stdout) + len(out.stderr)
        parts.append(f"[it wrote more; only the first {kept:,} bytes were kept]")
    if restored:
        names = ", ".join(restored)
        why = "commands may not change what steers git, shells and editors"
        parts.append(f"[put back as before: {names}; {why}]")
    if out.stopped:
        parts.append(f"stopped: {out.stopped}; all its processes were ended")
        return Failed(text=_joined(parts), code="over_limit")
    if out.timed_out:
        parts.append(f"timed out after {seconds:g} s; all its processes were ended")
        return Failed(text=_joined(parts), code="timeout")
    if out.code == 0:
        return Returned(text=_joined(parts) or "[no output]")
    code = 128 - out.code if out.code < 0 else out.code
    by = f" ({signal.Signals(-out.code).name})" if out.code < 0 else ""
    return Failed(text=_joined([*parts, f"exit code {code}{by}"]), code=f"exit_{code}")


def _joined(parts: list[str]) -> str:
    return "\n".join(part.removesuffix("\n") for part in parts if part.strip("\n"))


def _folder(cwd: str, job: Job) -> str:
    folder = Folder(job.workspace)
    name = folder.locate(cwd)
    about = folder.stat(name)
    if about is None:
        raise Denied("not_found", f"there is no folder {cwd}")
    return name
