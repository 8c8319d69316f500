"""From a network namespace with nothing in it, the way out is the only one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from holdfast.engine.clock import SystemClock
from holdfast.ports.egress import Allowed, Reach
from holdfast.testing.far_side import PUBLIC, Heard, made_up_world, plain

HOST = "api.example.com"
KEY = "sk-canary-0123456789"
PREFIX = ["unshare", "--net", *([] if os.getuid() == 0 else ["--map-root-user"])]

INSIDE = """
import fcntl, json, socket, struct, subprocess, sys

up = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
fcntl.ioctl(up, 0x8914, struct.pack("16sH14s", b"lo", 0x1 | 0x40, b""))  # loopback is up
listener = socket.create_server(("127.0.0.1", 3128))
outside = socket.socket(fileno=int(sys.argv[1]))
socket.send_fds(outside, [b"x"], [listener.fileno()])
listener.close()
environment = {**json.loads(outside.recv(65536)), "PATH": "/usr/bin:/bin"}


def tried(*address):
    try:
        socket.create_connection(address, timeout=5).close()
        return "reached"
    except OSError as error:
        return type(error).__name__


def asked_in_udp():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("93.184.216.34", 53))
        return "sent"
    except OSError as error:
        return type(error).__name__


def curl(*more):
    argv = ["curl", "--silent", "--show-error", "--max-time", "10", *more]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


print(json.dumps({
    "direct": tried("93.184.216.34", 443),
    "metadata": tried("169.254.169.254", 80),
    "name": tried("api.example.com", 443),
    "udp": asked_in_udp(),
    "allowed": curl("https://api.example.com/v1/me"),
    "path": curl("https://api.example.com/admin"),
    "other": curl("https://elsewhere.example/"),
    "inner": curl("http://127.0.0.1:22/"),
    "unproxied": curl("--noproxy", "*", "https://api.example.com/v1/me"),
}))
"""


def _can_unshare() -> bool:
    try:
        return subprocess.run([*PREFIX, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.anyio
@pytest.mark.skipif(not _can_unshare(), reason="no network namespaces here")
async def test_from_an_empty_namespace_only_what_is_allowed_is_reached(tmp_path: Path):
    headers = {"Authorization": "Bearer $SECRET{api/key}"}
    reach = Reach(
        task="t",
        agent="a",
        allowed=(Allowed(host=HOST, path="/v1/*", headers=headers),),
        intercept=True,
    )

    def said(heard: Heard) -> bytes:
        return plain(f"{heard.target} with {heard.headers['authorization']}")

    ours, theirs = socket.socketpair()
    with anyio.fail_after(50):
        async with made_up_world(SystemClock()) as world:
            world.far.at(HOST)
            world.far.secrets["api/key"] = KEY
            world.far.serve(said, tls=HOST)
            argv = [*PREFIX, sys.executable, "-I", "-c", INSIDE, str(theirs.fileno())]
            process = await anyio.open_process(argv, pass_fds=[theirs.fileno()])
            async with process:
                theirs.close()
                _, (fd, *_), _, _ = await anyio.to_thread.run_sync(socket.recv_fds, ours, 1, 1)
                async with world.gateway.serve(socket.socket(fileno=fd), reach) as given:
                    file = tmp_path / "authority.pem"
                    file.write_bytes(given.authority)
                    told = {**given.environment, "CURL_CA_BUNDLE": str(file)}
                    ours.send(json.dumps(told).encode())
                    assert process.stdout is not None
                    text = b"".join([piece async for piece in process.stdout])
            ours.close()
            found = json.loads(text)
            codes = sorted(await world.codes())
    assert found["direct"] == found["metadata"] == found["udp"] == "OSError"
    assert found["name"] == "gaierror"
    assert found["allowed"] == f"/v1/me with Bearer {'*' * len(KEY)}"
    assert "egress_path" in found["path"]
    assert "403" in found["other"]
    assert "egress_literal" in found["inner"]
    assert "resolve host" in found["unproxied"]
    assert world.far.dialled == [(PUBLIC, 443)]
    assert codes == ["", "egress_host", "egress_literal", "egress_path"]
