"""The web's tools, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.ports.egress import Egress
from holdfast.ports.tools import Tool

from .errand import Errands, Reaching
from .page import fetch_tool
from .request import http_tool
from .search import WebSettings, search_tool


def web_tools(
    egress: Egress,
    reach: Reaching,
    settings: WebSettings,
    secret: Callable[[str], Awaitable[str]],
) -> list[Tool]:
    """`http`, `web_fetch` and `web_search`. `reach` says where a job may go with a tool; `secret`
    gives the value of a secret of ours, and may raise what `Egress.fetch` may raise."""
    errands = Errands(egress, reach)
    return [http_tool(errands), fetch_tool(errands), search_tool(errands, settings, secret)]
