"""Everybody who answers model calls, each on one core; the load and the provider on another."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.calls import litellm
from benchmarks.daemon import Daemon
from benchmarks.measure import ROOT, Result, environment

_PATIENCE = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_MEASURED, _BESIDE = 0, min(1, (os.cpu_count() or 1) - 1)
_MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "ping"}]
_CHAT = {"model": "bench", "messages": _MESSAGES}
_OPENAI = {
    False: [("POST", "/v1/chat/completions", _CHAT)],
    True: [("POST", "/v1/chat/completions", {**_CHAT, "stream": True})],
}
_PING = {"system": "Be brief.", "text": "ping"}
_STRAIGHT = {
    False: [("POST", "/api/v1/models/ask", _PING)],
    True: [("POST", "/api/v1/models/ask", {**_PING, "stream": True})],
}
_TASK = [
    ("POST", "/api/v1/tasks", {"prompt": "ping"}),
    ("GET", "/api/v1/tasks/{id}/events?follow=true", None),
]
_CONFIG = """\
[engine]
lanes = 64
agent_lanes = 64
provider_calls = 512

[models]
default = "lab/bench"

[models.providers.lab]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
api_key = "none"
models = ["bench"]
"""


def beside(*command: str) -> list[str]:
    """A command that runs on the core that is not measured."""
    return ["taskset", "--cpu-list", str(_BESIDE), *command]


def measured(*command: str) -> list[str]:
    return ["taskset", "--cpu-list", str(_MEASURED), *command]


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A server that answers model calls: where, by whom, and how it is asked."""

    port: int
    pid: int
    steps: Mapping[bool, Sequence[Sequence[Any]]]
    must: tuple[str, str] = ("It is done", "It is done")
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def load(self, *, streamed: bool, lanes: int, seconds: float) -> Result:
        """What it can do, and the CPU time that its processes take for one operation."""
        plan = {
            "port": self.port,
            "steps": self.steps[streamed],
            "must": self.must[streamed],
            "headers": self.headers,
            "lanes": lanes,
            "seconds": seconds,
        }
        cpu = cpu_of(self.pid)
        told = said(beside(sys.executable, "-m", "benchmarks.calls.load", json.dumps(plan)))
        return told | {"cpu_ms": (cpu_of(self.pid) - cpu) / told["count"] * 1000}


@dataclass(frozen=True, kw_only=True)
class Library:
    """pydantic-ai in a process of its own, its load inside it."""

    port: int

    def load(self, *, streamed: bool, lanes: int, seconds: float) -> Result:
        words = [str(self.port), str(streamed), str(lanes), str(seconds)]
        return said(measured(sys.executable, "-m", "benchmarks.calls.bare", *words))


def said(command: list[str]) -> Result:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment()
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


@contextmanager
def provider(*, pieces: int = 8, gap: float = 0.0) -> Generator[tuple[int, int]]:
    """The port and the process of a provider."""
    words = ["--pieces", str(pieces), "--gap", str(gap)]
    command = beside(sys.executable, "-m", "benchmarks.calls.provider", *words)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def straight(port: int, pid: int) -> Answerer:
    return Answerer(port=port, pid=pid, steps=_OPENAI, must=("It is done", "[DONE]"))


@contextmanager
def echo() -> Generator[Answerer]:
    """A server that only answers."""
    with subprocess.Popen(
        measured(sys.executable, "-m", "benchmarks.calls.echo"),
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield straight(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


def as_openai(asked: Answerer, model: str) -> Answerer:
    """The same daemon at its door for OpenAI's clients."""
    chat = {**_CHAT, "model": model}
    steps = {
        streamed: [("POST", "/v1/chat/completions", {**chat, "stream": streamed})]
        for streamed in (False, True)
    }
    return replace(asked, steps=steps, must=("It is done", "[DONE]"))


@contextmanager
def holdfast(place: Path, port: int) -> Generator[tuple[Answerer, Answerer]]:
    """Asked straight, and with a task of one turn that is followed to its end."""
    place.mkdir(parents=True)
    (place / "config.toml").write_text(_CONFIG.format(port=port))
    (place / "config.toml").chmod(0o600)
    with Daemon(place, measured()) as daemon:
        listening = daemon.ask("GET", "/api/v1/status")["listening"]
        own = next(int(one.rpartition(":")[2]) for one in listening if one.startswith("http"))
        headers = {"Authorization": f"Bearer {(place / 'token').read_text().strip()}"}
        yield (
            Answerer(port=own, pid=daemon.pid, steps=_STRAIGHT, headers=headers),
            Answerer(
                port=own,
                pid=daemon.pid,
                steps={False: _TASK, True: _TASK},
                must=("SUCCEEDED", "SUCCEEDED"),
                headers=headers,
            ),
        )


@contextmanager
def lite(place: Path, port: int, *, install: bool = True) -> Generator[Answerer | str]:
    """LiteLLM's proxy as its documentation starts it, one worker; or why it is not here."""
    there = litellm.environment(install=install)
    if isinstance(there, str):
        yield there
        return
    key = f"sk-{secrets.token_urlsafe(32)}"
    place.mkdir(parents=True)
    (place / "config.yaml").write_text(litellm.CONFIG.format(port=port, key=key))
    own = 20_000 + os.getpid() % 20_000
    words = ["--config", str(place / "config.yaml"), "--host", "127.0.0.1", "--port", str(own)]
    settings = {**environment(), "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    del settings["PYTHONPATH"]
    with (place / "output.log").open("wb") as output, subprocess.Popen(
        measured(str(there / "bin/litellm"), *words),
        cwd=place, env=settings, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
    ) as process:  # fmt: skip
        try:
            if _up(own, process):
                yield Answerer(
                    port=own,
                    pid=process.pid,
                    steps=_OPENAI,
                    must=("It is done", "[DONE]"),
                    headers={"Authorization": f"Bearer {key}"},
                )
            else:
                last = (place / "output.log").read_text(errors="replace").strip().splitlines()[-1:]
                yield f"{litellm.wanted()} did not start: {' '.join(last)}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _up(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def cpu_of(pid: int) -> float:
    """Seconds of CPU time of a process and all its children, ended threads included."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, stat[11:15])) / _TICKS
    children: set[str] = set()
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        children |= set(re.findall(r"\d+", thread.read_text()))
    return own + sum(cpu_of(int(child)) for child in children)


@contextmanager
def everybody(place: Path) -> Generator[dict[str, Answerer | Library | str]]:
    """All of them at once, asking the same provider; those who cannot be had say why."""
    with ExitStack() as stack:
        port, pid = stack.enter_context(provider())
        asked, worked = stack.enter_context(holdfast(place / "calls", port))
        yield {
            "the provider alone": straight(port, pid),
            "pydantic-ai": Library(port=port),
            "Holdfast, asked straight": asked,
            "Holdfast, a task": worked,
            "LiteLLM's proxy": stack.enter_context(lite(place / "litellm", port)),
        }
