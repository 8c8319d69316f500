"""The scripted model as a plain ASGI application: it picks a reply, records and counts."""

import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

import anyio
import msgspec

from . import (
    model_anthropic,
    model_bedrock,
    model_embeddings,
    model_gemini,
    model_ollama,
    model_openai,
)
from .model_mistral import Mistral
from .model_responses import Responses
from .model_script import RecordedRequest, Reply, Script, parse_script
from .model_wire import NOT_JSON, Asked, Dialect, Plan, Turn, encode, number_calls, plan

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Rule = Callable[[RecordedRequest], Reply | None]

LONGEST_WAIT = 60.0  # seconds a hold or a stall may last
JSON = b"application/json"

_OPENAI = model_openai.OpenAI()
_ANTHROPIC = model_anthropic.Anthropic()
_GEMINI = model_gemini.Gemini()
_OLLAMA = model_ollama.Ollama()
_BEDROCK = model_bedrock.Bedrock()
_GEMINI_EMBEDDINGS = model_embeddings.GeminiEmbeddings()
_BEDROCK_EMBEDDINGS = model_embeddings.BedrockEmbeddings()
# By how the path ends: what comes before it differs from provider to provider.
_CHATS: dict[str, Dialect] = {
    "/mistral/v1/chat/completions": Mistral(),
    "/chat/completions": _OPENAI,
    "/embeddings": model_embeddings.OpenAIEmbeddings(),
    "/v1/responses": Responses(),
    "/v1/messages": _ANTHROPIC,
    "/api/chat": _OLLAMA,
}
_EXHAUSTED = Reply(status=400, text="The script of the model server is exhausted.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The models the server says it has, and what Ollama's `/api/show` says they can do."""

    models: tuple[str, ...] = ("scripted",)
    capabilities: tuple[str, ...] = ("completion", "tools", "thinking")


class ModelApp:
    """Answers every dialect from one script, in one event loop; any thread may `load`."""

    def __init__(self, script: Script, rule: Rule | None, catalogue: Catalogue) -> None:
        self.requests: list[RecordedRequest] = []
        self.probes: list[RecordedRequest] = []
        self.active = self.peak = self.abandoned = 0
        self.arrived = threading.Condition()
        self._rule = rule
        self._catalogue = catalogue
        self._replies: deque[Reply] = deque(script.replies)
        self._default = script.default
        self._turns = 0
        self._held: deque[anyio.Event] = deque()
        self._permits = 0
        self._patient: set[anyio.CancelScope] = set()
        self._stopped = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        client = _Client(scope, receive, send)
        dialect = _dialect(client)
        if dialect is None:
            control = client.path.startswith("/__")
            await (self._answer_control(client) if control else self._answer_probe(client))
            return
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await self._answer_chat(dialect, client)
        finally:
            self.active -= 1

    def load(self, script: Script) -> None:
        """Add replies behind those still waiting; replace the default if the script has one."""
        self._replies.extend(script.replies)
        self._default = script.default or self._default

    def reset(self) -> None:
        """Forget the script, the records and the counts; let go of what is held. Turns count on."""
        self._replies.clear()
        self._default = None
        self.requests.clear()
        self.probes.clear()
        self.peak, self.abandoned = self.active, 0
        self.release(None)
        self._permits = 0

    def release(self, count: int | None) -> None:
        """Let `count` held replies go, those yet to come included; None means all held now."""
        wanted = len(self._held) if count is None else count
        now = min(wanted, len(self._held))
        for _ in range(now):
            self._held.popleft().set()
        self._permits += wanted - now

    def stop(self) -> None:
        """End every wait: what was waiting is dropped without an answer."""
        self._stopped = True
        for scope in list(self._patient):
            scope.cancel()

    async def _answer_chat(self, dialect: Dialect, client: "_Client") -> None:
        raw = await client.body()
        try:
            body = msgspec.json.decode(raw, type=dict[str, Any])
            asked = dialect.read(client.path, body)
        except (KeyError, TypeError, msgspec.DecodeError) as wrong:
            text = f"The request is not what this dialect sends: {wrong!r}"
            await _refuse(dialect, client, Reply(status=400, text=text))
            return
        reply = self._pick(client.record(dialect, asked, body))
        self._turns += 1
        turn = Turn(
            number=self._turns,
            model=asked.model,
            created=int(time.time()),
            reply=reply,
            calls=number_calls(reply, self._turns),
            wants_usage=asked.wants_usage,
            others=asked.others,
            texts=asked.texts,
            coded=asked.coded,
        )
        if reply.hold or reply.delay or reply.chunk_delay or reply.stall:
            await self._answer_patiently(dialect, client, turn, streaming=asked.streaming)
        else:
            await _answer(dialect, client, turn, streaming=asked.streaming)

    def _pick(self, request: RecordedRequest) -> Reply:
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()
        if self._rule and (ruled := self._rule(request)):
            return ruled
        if self._replies:
            return self._replies.popleft()
        return self._default or _EXHAUSTED

    async def _answer_patiently(
        self, dialect: Dialect, client: "_Client", turn: Turn, *, streaming: bool
    ) -> None:
        async def watch() -> None:
            await client.leaves()
            if client.answered:
                return
            self.abandoned += 1
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            self._patient.add(group.cancel_scope)
            group.start_soon(watch)
            if self._stopped:
                group.cancel_scope.cancel()
            try:
                await self._hold(turn.reply)
                await anyio.sleep(turn.reply.delay)
                await _answer(dialect, client, turn, streaming=streaming)
            finally:
                self._patient.discard(group.cancel_scope)
            group.cancel_scope.cancel()

    async def _hold(self, reply: Reply) -> None:
        if not reply.hold:
            return
        if self._permits:
            self._permits -= 1
            return
        released = anyio.Event()
        self._held.append(released)
        try:
            with anyio.move_on_after(LONGEST_WAIT):
                await released.wait()
        finally:
            if not released.is_set():
                self._held.remove(released)

    async def _answer_probe(self, client: "_Client") -> None:
        raw = await client.body()
        dialect = _guess(client)
        try:
            body = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            body = {}
        asked = Asked(model=str(body.get("model", "")), messages=[], streaming=False)
        self.probes.append(client.record(dialect, asked, body))
        models = self._catalogue.models
        match client.method, client.path:
            case "GET", "/v1/models" if dialect is _ANTHROPIC:
                answer = model_anthropic.model_list(models)
            case "GET", "/v1/models":
                answer = model_openai.model_list(models)
            case "GET", "/v1beta/models":
                answer = model_gemini.model_list(models)
            case "GET", "/api/tags":
                answer = model_ollama.model_list(models)
            case "POST", "/api/show":
                answer = model_ollama.model_card(self._catalogue.capabilities)
            case "GET", "/api/version":
                answer = model_ollama.VERSION
            case _:
                text = f"No such path: {client.method} {client.path}"
                await _refuse(dialect, client, Reply(status=404, text=text))
                return
        await client.send_whole(200, answer)

    async def _answer_control(self, client: "_Client") -> None:
        raw = await client.body()
        match client.method, client.path:
            case "GET", "/__requests":
                await client.send_whole(200, self._report())
                return
            case "POST", "/__script":
                try:
                    self.load(parse_script(raw))
                except ValueError as wrong:
                    await client.send_whole(400, encode({"error": str(wrong)}))
                    return
            case "POST", "/__reset":
                self.reset()
            case "POST", "/__release":
                self.release(None)
            case _:
                await client.send_whole(404, encode({"error": f"no such path: {client.path}"}))
                return
        await client.send_whole(200, b"{}")

    def _report(self) -> bytes:
        counts = {"active": self.active, "peak": self.peak, "abandoned": self.abandoned}
        return encode({"requests": self.requests, "probes": self.probes} | counts)


class _Client:
    """One HTTP exchange: what was asked, and the means to answer it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        self.answered = False
        self._receive = receive
        self._send = send

    async def body(self) -> bytes:
        body = b""
        while True:
            message = await self._receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return body

    async def leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def record(self, dialect: Dialect, asked: Asked, body: dict[str, Any]) -> RecordedRequest:
        return RecordedRequest(
            dialect=dialect.name,
            path=self.path,
            headers=self.headers,
            body=body,
            model=asked.model,
            messages=asked.messages,
            streaming=asked.streaming,
            at=time.time(),
        )

    async def start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, part: bytes, *, more: bool) -> None:
        self.answered = not more
        await self._send({"type": "http.response.body", "body": part, "more_body": more})

    async def send_whole(
        self, status: int, body: bytes, *more: tuple[bytes, bytes], kind: bytes = JSON
    ) -> None:
        length = str(len(body)).encode()
        await self.start(status, [(b"content-type", kind), (b"content-length", length), *more])
        await self.send(body, more=False)


def _dialect(client: _Client) -> Dialect | None:
    """The dialect of a request for a reply; None for any other."""
    if client.method != "POST":
        return None
    if client.path.startswith(model_gemini.PATH):
        if client.path.endswith(":batchEmbedContents"):
            return _GEMINI_EMBEDDINGS
        known = client.path.endswith((":generateContent", ":streamGenerateContent"))
        return _GEMINI if known else None
    if client.path.startswith(model_bedrock.PATH):
        if client.path.endswith("/invoke"):
            return _BEDROCK_EMBEDDINGS
        return _BEDROCK if client.path.endswith(("/converse", "/converse-stream")) else None
    return next((chat for end, chat in _CHATS.items() if client.path.endswith(end)), None)


def _guess(client: _Client) -> Dialect:
    if client.path.startswith("/v1beta/"):
        return _GEMINI
    if client.path.startswith("/api/"):
        return _OLLAMA
    return _ANTHROPIC if "anthropic-version" in client.headers else _OPENAI


async def _answer(dialect: Dialect, client: _Client, turn: Turn, *, streaming: bool) -> None:
    if turn.reply.status != 200:
        await _refuse(dialect, client, turn.reply)
        return
    await _send_plan(client, plan(dialect, turn, streaming=streaming), turn.reply.chunk_delay)


async def _send_plan(client: _Client, sending: Plan, chunk_delay: float) -> None:
    kind = sending.content_type.encode()
    complete = sending.ending == "complete"
    if complete and len(sending.frames) == 1:
        await client.send_whole(200, sending.frames[0], kind=kind)
        return
    await client.start(200, [(b"content-type", kind), (b"cache-control", b"no-cache")])
    last = len(sending.frames) - 1
    for number, frame in enumerate(sending.frames):
        if chunk_delay and number >= sending.unpaced:
            await anyio.sleep(chunk_delay)
        await client.send(frame, more=not (complete and number == last))
    if sending.ending == "stall":
        await anyio.sleep(LONGEST_WAIT)


async def _refuse(dialect: Dialect, client: _Client, reply: Reply) -> None:
    headers: list[tuple[bytes, bytes]] = []
    if reply.retry_after is not None:
        headers.append((b"retry-after", f"{reply.retry_after:g}".encode()))
    if reply.malformed:
        await client.send_whole(reply.status, NOT_JSON, *headers, kind=b"text/html")
        return
    message = reply.text or f"Scripted failure: {reply.status}."
    await client.send_whole(reply.status, dialect.failure(reply.status, message, reply), *headers)


async def _live(receive: Receive, send: Send) -> None:
    """The lifespan protocol, with nothing to set up."""
    while True:
        stage = (await receive())["type"]
        await send({"type": f"{stage}.complete"})
        if stage == "lifespan.shutdown":
            return
