"""A key of the configuration that nobody reads is a lie. Here a daemon is watched reading them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from holdfast.adapters import certificates
from holdfast.config.sections import Section
from holdfast.testing.daemon import stage
from tests.e2e.at_home import ENVIRONMENT, PATIENCE, answers, ask, until

WATCHED = """
import json, sys
from holdfast.config import sections

seen, plain = set(), sections.Section.__getattribute__


def watched(self, name):
    caller = sys._getframe(1)
    if "pydantic" in caller.f_code.co_filename and name == "__dict__":
        caller, name = caller.f_back, "*"
    where = caller.f_code.co_filename.replace("\\\\", "/")
    # Who checks, shows or compares the whole file does not act by it.
    if "/holdfast/" in where and not where.endswith(("/read.py", "/words.py", "/sections.py")):
        seen.add((type(self).__name__, "*" if name == "model_dump" else name))
    return plain(self, name)


sections.Section.__getattribute__ = watched
from holdfast import assembly

code = assembly.main(["serve", "--foreground"])
with open(sys.argv[1], "w") as file:
    json.dump(sorted(seen), file)
sys.exit(code)
"""

TABLES = """
[server]
tls = "files"
certificate = "{certificate}"
certificate_key = "{key}"
[models.price."lab/*"]
input = 1.0
[models.roles.small]
model = "lab/m"
[models.providers.lab]
base_url = "http://127.0.0.1:9/v1"
models = ["m"]
[models.logins.clients.copilot]
client_id = "Iv1"
[[policy.rule]]
say = "deny"
[policy.ceiling."crew-*"]
preset = "reader"
[policy.domain.lab]
tools = ["read"]
[[policy.domain.lab.calls]]
tools = ["list"]
[policy.group]
lab = ["key:lab"]
[[policy.answer]]
by = ["group:lab"]
[[egress.allow]]
host = "api.example.com"
[web.search.brave]
key_env = "K"
[a2a.peers.lab]
url = "http://127.0.0.1:9"
[mcp.servers.lab]
command = ["git-server"]
[acp.agents.lab]
command = ["an-agent"]
[[budget]]
scope = "agent"
usd = 1
[agent.output]
"""


def sections_below(of: type[Section]) -> list[type[Section]]:
    return [one for found in of.__subclasses__() for one in (found, *sections_below(found))]


def test_a_daemon_reads_every_key_of_its_configuration():
    with stage("keys") as place:
        home, said = place / "home", place / "read.json"
        home.mkdir()
        file, wire = home / "config.toml", home / "run" / "holdfast.sock"
        (home / "s.json").write_text('{"type": "object"}')
        shown = certificates.own(place / "tls", ["localhost"], round(time.time() * 1000))
        tables = TABLES.format(certificate=shown.path, key=shown.key_path)
        file.write_text(f'{tables}schema_file = "s.json"\n')
        running = subprocess.Popen(
            [sys.executable, "-c", WATCHED, str(said)],
            env={**ENVIRONMENT, "HOLDFAST_HOME": str(home), "HOME": str(place)},
            stderr=subprocess.DEVNULL,
        )
        try:
            until(lambda: answers(wire))
            before = ask(wire, "GET", "/api/v1/status")["config"]
            file.write_text(f'{tables}schema = {{type = "object"}}\n')
            until(lambda: ask(wire, "GET", "/api/v1/status")["config"] != before)
            running.send_signal(signal.SIGTERM)
            assert running.wait(PATIENCE) == 0
        finally:
            running.kill()
            running.wait(PATIENCE)
        read = {(table, name) for table, name in json.loads(Path(said).read_text())}
    # The whole file is read as the `Config` that it becomes.
    read |= {("Settings", name) for table, name in read if table == "Config"}
    unread = [
        f"{one.__name__}.{name}"
        for one in sections_below(Section)
        if one.__name__ != "Config" and (one.__name__, "*") not in read
        for name in one.model_fields
        if (one.__name__, name) not in read
    ]
    assert unread == [], "these keys say what nothing does"
