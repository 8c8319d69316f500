"""A daemon that plays a script. `python fake_daemon.py HOME` runs one in a process of its own."""

import fcntl
import json
import os
import socketserver
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PATIENCE = 20.0
CUT = "cut"
HOLD = "hold"
STOP = "stop"

Json = dict[str, Any]
Step = str | tuple[str, Json]


def call(name: str, tool: str, target: str = "", **arguments: Any) -> Json:
    return {"id": name, "tool": tool, "arguments": arguments, "target": target}


def replied(text: str = "", *calls: Json, verdict: str = "allow") -> Step:
    judged = [{"call": one, "verdict": {"type": verdict, "rule": "r"}} for one in calls]
    return (
        "Replied",
        {"said": {"type": "model", "text": text}, "judged": judged, "model": "fake/m1"},
    )


def settled(name: str, kind: str = "returned", text: str = "fine") -> Step:
    key = "text" if kind in {"returned", "failed"} else "reason"
    return ("CallSettled", {"call_id": name, "outcome": {"type": kind, key: text}})


def asks(one: Json, question: str = "") -> Step:
    return ("ask", {"call": one, "question": question or f"May I {one['tool']} {one['target']}?"})


@dataclass
class Job:
    """One task and the steps it still has to play."""

    id: str
    body: Json
    steps: list[Step]
    row: Json
    log: list[Json] = field(default_factory=list[Json])
    moved: threading.Event = field(default_factory=threading.Event)


class FakeDaemon:
    """Answers at `<home>/run/holdfast.sock` while entered. `requests` is what it was asked."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.requests: list[tuple[str, str, Json]] = []
        self.jobs: list[Job] = []
        self.plans: list[tuple[list[Step], str, Json]] = []
        self.canned: dict[str, Json] = {"/api/v1/status": status_row(home)}
        self.streams: dict[str, list[tuple[str, Json]]] = {}
        self.refusals: dict[str, tuple[int, Json]] = {}
        self.stopping = threading.Event()
        (home / "run").mkdir(parents=True, exist_ok=True)
        self._server = _Server(str(home / "run" / "holdfast.sock"), self)

    def __enter__(self) -> "FakeDaemon":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        (self.home / "run" / "holdfast.sock").unlink(missing_ok=True)

    def plan(self, *steps: Step, answer: str | None = "the answer", **row: Any) -> None:
        """What the next task does, and how its summary looks at the end."""
        end = {"status": "SUCCEEDED", **row}
        if answer is not None:
            end["answer"] = answer
        self.plans.append((list(steps), end["status"], end))

    def asked(self, method: str, start: str) -> list[Json]:
        return [
            body for verb, path, body in self.requests if verb == method and path.startswith(start)
        ]

    def submit(self, body: Json) -> Job:
        for job in self.jobs:
            if body.get("key") and job.body.get("key") == body["key"]:
                return job
        name = f"task_{len(self.jobs) + 1:032x}"
        steps, _, end = (
            self.plans.pop(0) if self.plans else ([], "", {"status": "SUCCEEDED", "answer": "ok"})
        )
        spent = {"steps": 3, "tokens": 1204, "cost": 1200}
        title = " ".join(body["prompt"].split())[:120]
        row = {
            "id": name,
            "status": "RUNNING",
            "title": title,
            "short": name[-8:],
            "cost_usd": 0.0012,
        }
        row |= {"submitted_at": 1000, "updated_at": 5100, "spent": spent}
        row |= {"session": body.get("session", ""), "workspace": body.get("workspace", "")}
        job = Job(
            name, body, [("Submitted", {"request": {"agent": {"model": "fake/m1"}}}), *steps], row
        )
        job.steps.append(("end", end))
        self.jobs.append(job)
        return job

    def find(self, ref: str) -> Job | None:
        found = [job for job in self.jobs if job.id.startswith(ref) or job.id.endswith(ref)]
        return found[0] if len(found) == 1 and len(ref) >= 4 else None

    def play(self, job: Job) -> Iterator[tuple[str, Json]]:
        """The rest of a job's script. A question waits until somebody has answered it."""
        while job.steps:
            step = job.steps[0]
            if job.row["status"] == "CANCELED":
                step = ("end", {"status": "CANCELED"})
                job.steps = [step]
            match step:
                case "hold":
                    job.moved.wait(PATIENCE)
                    job.steps.pop(0)
                case ("ask", told):
                    yield from self._asking(job, told)
                case str():
                    job.steps.pop(0)
                    yield step, {}
                case ("delta", told):
                    job.steps.pop(0)
                    yield "delta", told
                case ("end", told):
                    job.row |= told
                    yield "end", job.row
                    return
                case (kind, told):
                    job.steps.pop(0)
                    row = {"seq": len(job.log) + 1, "at": 1000, "kind": kind, "data": told}
                    job.log.append(row)
                    yield kind, row

    def _asking(self, job: Job, told: Json) -> Iterator[tuple[str, Json]]:
        one = told["call"]
        question = {"call": one["id"], "tool": one["tool"], "target": one["target"]}
        question |= {"question": told["question"], "digest": f"digest-{one['id']}"}
        job.row |= {"status": "WAITING", "questions": [question]}
        _, data = replied("", one, verdict="ask")
        row = {"seq": len(job.log) + 1, "at": 1000, "kind": "Replied", "data": data}
        job.log.append(row)
        job.steps[0] = HOLD
        yield "Replied", row


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: str, daemon: FakeDaemon) -> None:
        super().__init__(path, _Door)
        self.daemon = daemon

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; anything else is a mistake of the script."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _daemon(self) -> FakeDaemon:
        assert isinstance(self.server, _Server)
        return self.server.daemon

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is inherited
        """Say nothing."""

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self._answer(json.loads(self.rfile.read(length) or b"{}"))

    def _answer(self, body: Json) -> None:
        daemon = self._daemon
        self.close_connection = True
        daemon.requests.append((self.command, self.path, body))
        url = urlsplit(self.path)
        if url.path in daemon.refusals:
            status, said = daemon.refusals[url.path]
            self._json(problem(said), status)
        elif url.path in daemon.streams:
            self._stream(daemon.streams[url.path])
        elif url.path in daemon.canned:
            self._json(daemon.canned[url.path])
        elif url.path.startswith("/api/v1/tasks"):
            self._tasks(url.path.split("/")[4:], parse_qs(url.query), body)
        elif url.path == "/api/v1/stop":
            self._json({"stopping": True})
            daemon.stopping.set()
        else:
            self._json(problem({"code": "no_such_path", "message": f"no {url.path}"}), 404)

    def _tasks(self, rest: list[str], query: dict[str, list[str]], body: Json) -> None:
        daemon = self._daemon
        if not rest and self.command == "POST":
            self._json(daemon.submit(body).row, 202)
            return
        if not rest:
            rows = [job.row for job in reversed(daemon.jobs)]
            self._json({"tasks": rows, "next": None, "counts": {}})
            return
        job = daemon.find(unquote(rest[0]))
        if job is None:
            said = {"code": "task_not_found", "message": f"there is no task {unquote(rest[0])}"}
            self._json(problem({**said, "hint": "holdfast task list"}), 404)
        elif rest[1:] == ["events"]:
            self._events(job, int(query.get("after", ["0"])[0]))
        else:
            self._act(job, rest[1:], body)

    def _act(self, job: Job, action: list[str], body: Json) -> None:
        match action:
            case []:
                pass
            case ["cancel"]:
                job.row["status"] = "CANCELED"
                job.row.pop("questions", None)
                job.moved.set()
            case ["calls", name, "approve"] if body["digest"] != f"digest-{name}":
                said = {"code": "approval_mismatch", "message": "other arguments", "hint": ""}
                self._json(problem(said), 409)
                return
            case ["calls", _, "approve" | "refuse"] | ["say"]:
                job.row.pop("questions", None)
                job.row["status"] = "RUNNING"
                job.moved.set()
            case ["bundle"]:
                self._raw(b"PK-a-zip", "application/zip")
                return
            case _:
                pass
        self._json(job.row)

    def _stream(self, events: list[tuple[str, Json]]) -> None:
        """Canned events; `cut` breaks the connection."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for kind, told in events:
            if kind == CUT:
                self.wfile.flush()
                return
            self._event(kind, told)
        self.wfile.write(b"0\r\n\r\n")

    def _events(self, job: Job, after: int) -> None:
        daemon = self._daemon
        if "event-stream" not in self.headers["Accept"]:
            self._json({"events": [row for row in job.log if row["seq"] > after], "last": 0})
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(": hello\n\n")
        for row in [row for row in job.log if row["seq"] > after]:
            self._event(row["kind"], row)
        for kind, told in daemon.play(job):
            if kind == CUT:
                self.wfile.flush()
                return
            if kind == STOP:
                daemon.close()
                break
            self._event(kind, told)
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, kind: str, told: Json) -> None:
        head = f"id: {told['seq']}\n" if "seq" in told else ""
        self._chunk(f"{head}event: {kind}\ndata: {json.dumps(told)}\n\n")

    def _chunk(self, text: str) -> None:
        # In two pieces, cut anywhere: a client may not rely on where chunks end.
        data = text.encode()
        for piece in (data[:7], data[7:]):
            if piece:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.flush()

    def _json(self, value: Json, status: int = 200) -> None:
        self._raw(json.dumps(value).encode(), "application/json", status)

    def _raw(self, data: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def status_row(home: Path, **more: Any) -> Json:
    row: Json = {"version": "0.1.0", "home": str(home), "pid": os.getpid(), "listening": ["unix"]}
    row |= {"uptime_seconds": 65.0, "counts": {"SUCCEEDED": 2}, "running": 1, "lanes": 4}
    row |= {"model": "fake/m1", "policy": "policy-1", "database_bytes": 2_000_000, "rss_bytes": 1}
    return {**row, **more}


def _alone(home: Path) -> int:
    """A process of its own: one per home, until it is told to stop."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    with (home / "run" / "daemon.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write("error: a daemon is already running\n")
            return 2
        (home / "run" / "holdfast.sock").unlink(missing_ok=True)
        with FakeDaemon(home) as daemon:
            with (home / "starts").open("a") as starts:
                starts.write(f"{os.getpid()}\n")
            daemon.stopping.wait(PATIENCE)
    return 0


if __name__ == "__main__":
    sys.exit(_alone(Path(sys.argv[1])))


def problem(said: Json) -> Json:
    """As the daemon's errors look over HTTP."""
    return {"code": said["code"], "detail": said["message"], "hint": said.get("hint", "")}
