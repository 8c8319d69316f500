"""Serves an offer: between the official kit, which has the protocol, and what is offered."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar, cast

import anyio
import mcp_types as types
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.connection import Connection
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from holdfast.doors.http.auth import BY
from holdfast.doors.http.ending import while_known
from holdfast.doors.http.errors import Unauthenticated
from holdfast.doors.http.route import Door

from .caller import Caller, Declined
from .feeds import MOST, Feeds
from .house import HouseOffer
from .offer import Asked, Offer
from .tape import Tape
from .tasked import Tasks

_SESSIONS = 256
_LISTENERS = 256
_RETRY_MS = 500
_PAGE = 100
_COMPLETIONS = 100
_STATE_SECONDS = 3600.0
_GONE, _NOT_THERE = 404, -32002
_DIGITS = 9

Context = ServerRequestContext[Any, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What lasts as long as the server does."""

    feeds: Feeds
    listen: ListenHandler


class Sessions(StreamableHTTPSessionManager):
    """The sessions of all hosts. Each belongs to the principal who opened it."""

    def __init__(self, offer: Offer, door: Door) -> None:
        super().__init__(
            app=_server(offer, door.house.version),
            retry_interval=_RETRY_MS,
            max_request_body_size=door.access.max_body,
            max_sessions=_SESSIONS,
        )

    @property
    def event_store(self) -> Tape:
        """One for each session: by the kit's names alone one could hear what another was told."""
        return Tape()

    @event_store.setter
    def event_store(self, _: object) -> None:
        """There is no other."""

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = AccessToken(token="", client_id=scope[BY], scopes=[])
        # The server leaves blanks behind values, which are no part of them (RFC 9110, 5.5).
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        told = {**scope, "headers": headers, "user": AuthenticatedUser(known)}
        await super().handle_request(told, receive, send)


def own_offer(door: Door) -> Offer:
    return HouseOffer(door.house)


def _server(offer: Offer, version: str) -> Server[_Ground]:
    @asynccontextmanager
    async def lasting(_: Server[_Ground]) -> AsyncGenerator[_Ground]:
        async with anyio.create_task_group() as group:
            feeds = Feeds(offer, group)
            listen = ListenHandler(feeds.bus, max_subscriptions=_LISTENERS)
            yield _Ground(feeds=feeds, listen=listen)
            group.cancel_scope.cancel()

    desk = _Desk(offer)
    server = Server[_Ground](
        "holdfast",
        title="Holdfast",
        version=version,
        instructions=offer.instructions,
        lifespan=lasting,
        get_tool_input_schema=None,
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources,
        on_list_resource_templates=desk.list_templates,
        on_read_resource=desk.read_resource,
        on_subscribe_resource=desk.subscribe,
        on_unsubscribe_resource=desk.unsubscribe,
        on_subscriptions_listen=desk.listen,
        on_list_prompts=desk.list_prompts,
        on_get_prompt=desk.get_prompt,
        on_completion=desk.complete,
    )
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, desk.set_level)
    desk.tasks.add_to(server)
    guard = RequestStateSecurity.ephemeral(ttl=_STATE_SECONDS)
    guard.bind_principal = lambda context: context.request.scope[BY] if context.request else None
    server.middleware.append(RequestStateBoundary(guard, default_audience="holdfast"))
    return server


class _Desk:
    """Takes each request apart, asks the offer, and says what came of it as the protocol has it."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self.tasks = Tasks(offer, _asked, _answered)

    async def list_tools(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        page, more = _page(self._tools(context), params)
        return types.ListToolsResult(tools=page, next_cursor=more)

    async def call_tool(
        self, context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        asked = _asked(context, params)
        if params.name not in {tool.name for tool in self._tools(context)}:
            raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}")
        given = params.arguments or {}
        work = partial(self._offer.call, asked, params.name, given)
        try:
            if (made := await self.tasks.created(asked, params.name, given)) is not None:
                # The extension's own shape, which the kit passes on as it is.
                return cast("types.CallToolResult", made)
            # The kit lets a call go on whose host has left: not when it is not let in any more.
            return await while_known(asked.caller.scope, work)
        except (Declined, Unauthenticated) as no:
            said = types.TextContent(type="text", text=str(no))
            told = {"holdfast/error": no.code}
            return types.CallToolResult(content=[said], is_error=True, _meta=told)

    async def list_resources(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        cursor = (params.cursor if params else None) or ""
        return await _answered(self._offer.resources(_asked(context), cursor), context, cursor)

    async def list_templates(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        page, more = _page(self._offer.templates(), params)
        return types.ListResourceTemplatesResult(resource_templates=page, next_cursor=more)

    async def read_resource(
        self, context: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        uri = str(params.uri)
        return await _answered(self._offer.read(_asked(context, params), uri), context, uri)

    async def subscribe(
        self, context: Context, params: types.SubscribeRequestParams
    ) -> types.EmptyResult:
        connection, uri = _connection(context), str(params.uri)
        following: dict[str, anyio.CancelScope] = connection.state.setdefault("following", {})
        if uri not in following:
            if len(following) >= MOST:
                raise MCPError(types.INVALID_PARAMS, f"at most {MOST} resources can be followed")
            ground: _Ground = context.lifespan_context
            telling = ground.feeds.tell(_asked(context), uri, connection.send_resource_updated)
            following[uri] = scope = await _answered(telling, context, uri)
            connection.exit_stack.callback(scope.cancel)
        return types.EmptyResult()

    async def unsubscribe(
        self, context: Context, params: types.UnsubscribeRequestParams
    ) -> types.EmptyResult:
        if scope := _connection(context).state.get("following", {}).pop(str(params.uri), None):
            scope.cancel()
        return types.EmptyResult()

    async def listen(
        self, context: Context, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        ground: _Ground = context.lifespan_context
        uris = params.notifications.resource_subscriptions or []
        if len(uris) > MOST:
            raise MCPError(types.INVALID_PARAMS, f"at most {MOST} resources can be followed")
        async with AsyncExitStack() as stack:
            following = ground.feeds.following(_asked(context), uris)
            await _answered(stack.enter_async_context(following), context, ", ".join(uris))
            scope = cast("Request", context.request).scope
            return await while_known(scope, partial(ground.listen, context, params))

    async def list_prompts(
        self, context: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListPromptsResult:
        page, more = _page(self._offer.prompts(), params)
        return types.ListPromptsResult(prompts=page, next_cursor=more)

    async def get_prompt(
        self, context: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        asked, given = _asked(context, params), params.arguments or {}
        return await _answered(self._offer.prompt(asked, params.name, given), context, params.name)

    async def complete(
        self, context: Context, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        about = params.ref.name if isinstance(params.ref, types.PromptReference) else params.ref.uri
        name, begun = params.argument.name, params.argument.value
        found = await _answered(
            self._offer.complete(_asked(context), about, name, begun), context, about
        )
        values = list(found[:_COMPLETIONS])
        more = len(found) > len(values)
        return types.CompleteResult(
            completion=types.Completion(values=values, total=len(found), has_more=more)
        )

    async def set_level(
        self, context: Context, params: types.SetLevelRequestParams
    ) -> types.EmptyResult:
        _connection(context).state["least"] = params.level
        return types.EmptyResult()

    def _tools(self, context: Context) -> Sequence[types.Tool]:
        """Those that this host was configured to see."""
        asked = _asked(context)
        patterns = asked.caller.wanted
        return [
            tool
            for tool in self._offer.tools(asked)
            if not patterns or any(fnmatchcase(tool.name, one) for one in patterns)
        ]


def _asked(context: Context, params: Any = None) -> Asked:
    request = cast("Request", context.request)
    return Asked(
        context=context,
        caller=Caller(request),
        least=_connection(context).state.get("least", "debug"),
        inputs=getattr(params, "input_responses", None) or {},
        state=getattr(params, "request_state", None) or "",
    )


def _connection(context: Context) -> Connection:
    """What lasts from one request of a session to the next; the kit keeps it to itself."""
    return context.session._connection  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


async def _answered(answer: Awaitable[T], context: Context, what: str) -> T:
    """What is no tool has no result for a refusal: it is an error of the protocol."""
    try:
        return await answer
    except Declined as no:
        gone = no.status == _GONE
        old = context.protocol_version not in MODERN_PROTOCOL_VERSIONS
        code = _NOT_THERE if gone and old else types.INVALID_PARAMS
        raise MCPError(code, str(no), {"uri": what, "code": no.code}) from None


def _page(
    rows: Sequence[T], params: types.PaginatedRequestParams | None
) -> tuple[list[T], str | None]:
    """A hundred at a time; the cursor is where to go on."""
    cursor = (params.cursor if params else None) or "0"
    if not (cursor.isdecimal() and len(cursor) < _DIGITS):
        raise MCPError(types.INVALID_PARAMS, f"{cursor[:40]!r} is no cursor of ours")
    start = int(cursor)
    more = str(start + _PAGE) if start + _PAGE < len(rows) else None
    return list(rows[start : start + _PAGE]), more
