"""A scripted model over real HTTP: one script for every provider's way to be asked.

It speaks OpenAI's chat completions (also as Azure and Mistral have them) and responses, Anthropic's
messages, Gemini's generateContent, Bedrock's Converse and Ollama's chat.

Asked for embeddings it gives the vectors of the next reply, or one for each text.

In a test:

    with ModelServer(script=[Reply(text="Hello.")]) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any")

From a shell: `python -m holdfast.testing.model_server --script replies.json --port 0` prints the
URL as a line and serves until interrupted. The file holds a list of replies, or an object with
`replies` and `default`; a reply has the field names of `Reply`, every one optional:

    {"replies": [{"calls": [{"name": "add", "arguments": {"a": 1}}]},
                 {"text": "Slow down.", "status": 429, "retry_after": 2},
                 {"text": "Two.", "thinking": "1 + 1", "usage": {"input": 9, "output": 3}}],
     "default": {"text": "Nothing left to say."}}

Out of process: `POST /__script` adds replies in that form, `GET /__requests` shows what was asked,
`POST /__release` lets held replies go and `POST /__reset` forgets everything. Benchmarks belong
there: in a test the server's thread and the client share one interpreter lock.
"""

import argparse
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio.from_thread
import anyio.lowlevel
import uvicorn

from .model_app import Catalogue, ModelApp, Receive, Rule, Scope, Send
from .model_script import RecordedRequest, Reply, Script, ScriptedCall, Usage, parse_script

__all__ = [
    "Catalogue",
    "ModelServer",
    "RecordedRequest",
    "Reply",
    "Script",
    "ScriptedCall",
    "Usage",
    "parse_script",
]

_PATIENCE = 10.0  # seconds to wait for the server's thread to start or to end
_LEAVE = 1  # seconds open connections get to end at shutdown


class ModelServer:
    """A scripted model on 127.0.0.1, in a thread of its own; a context manager, used once.

    Every model request is answered by `rule` (called in the server's thread) if it returns a
    reply, else by the next reply of `script`, else by `default`, else by a 400 saying so.
    `port` 0 takes any free one. Leaving drops whatever is still held or streaming, within seconds.
    """

    def __init__(
        self,
        script: Iterable[Reply] = (),
        *,
        rule: Rule | None = None,
        default: Reply | None = None,
        catalogue: Catalogue | None = None,
        port: int = 0,
    ) -> None:
        told = Script(replies=tuple(script), default=default)
        self._app = ModelApp(told, rule, catalogue or Catalogue())
        self._port = port
        self._loop: anyio.lowlevel.EventLoopToken | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="model-server")

    def __enter__(self) -> Self:
        self._socket = socket.create_server(("127.0.0.1", self._port), backlog=2048)
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._call,
            interface="asgi3",
            lifespan="on",
            proxy_headers=False,
            ws="none",
            access_log=False,
            log_config=None,
            log_level=None,
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=_LEAVE,
        )
        self._server = uvicorn.Server(config)
        self._thread.start()
        if not self._started.wait(_PATIENCE):
            self._server.should_exit = True
            raise TimeoutError(f"The model server did not start within {_PATIENCE:g} s.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._in_loop(self._app.stop)
        self._server.should_exit = True
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise TimeoutError(f"The model server did not stop within {_PATIENCE:g} s.")

    @property
    def url(self) -> str:
        """The root, without a path: `http://127.0.0.1:41234`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request for a reply, oldest first."""
        return self._app.requests

    @property
    def probes(self) -> list[RecordedRequest]:
        """Every other request: lists of models, Ollama's questions, unknown paths."""
        return self._app.probes

    @property
    def active(self) -> int:
        """Requests for a reply being answered now."""
        return self._app.active

    @property
    def peak(self) -> int:
        """The most requests for a reply ever being answered at the same time."""
        return self._app.peak

    @property
    def abandoned(self) -> int:
        """Held, delayed, paced or stalled replies whose client left before the end."""
        return self._app.abandoned

    def load(self, *replies: Reply) -> None:
        """Add replies behind those still waiting to be given."""
        self._app.load(Script(replies=replies))

    def release(self, count: int | None = None) -> None:
        """Let go of all replies held now; or of `count`, oldest first, later ones included."""
        self._in_loop(lambda: self._app.release(count))

    def reset(self) -> None:
        """Forget script, default, records and counts; let go of what is held."""
        self._in_loop(self._app.reset)

    def wait_for_requests(self, count: int = 1, *, seconds: float = _PATIENCE) -> None:
        """Block this thread until `count` requests are here; TimeoutError if not in time."""
        app = self._app
        with app.arrived:
            if not app.arrived.wait_for(lambda: len(app.requests) >= count, seconds):
                got = len(app.requests)
                raise TimeoutError(f"{got} of {count} requests arrived within {seconds:g} s.")

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._loop = anyio.lowlevel.current_token()
            self._started.set()
        await self._app(scope, receive, send)

    def _serve(self) -> None:
        """The thread. uvicorn complains about the failures we script, so only tracebacks pass."""
        own = threading.get_ident()
        log = logging.getLogger("uvicorn.error")

        def others(record: logging.LogRecord) -> bool:
            return record.thread != own or record.exc_info is not None

        log.addFilter(others)
        try:
            self._server.run(sockets=[self._socket])
        finally:
            log.removeFilter(others)

    def _in_loop(self, act: Callable[[], None]) -> None:
        anyio.from_thread.run_sync(act, token=self._loop)


def main() -> None:
    parser = argparse.ArgumentParser(prog="model_server", description="A scripted model server.")
    parser.add_argument("--script", type=Path, help="JSON: a list of replies, or an object")
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes any free port")
    options = parser.parse_args()
    script = parse_script(options.script.read_bytes()) if options.script else Script()
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with ModelServer(script.replies, default=script.default, port=options.port) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
