"""The tools that come with Holdfast, registered as a stranger's would be."""

from __future__ import annotations

from holdfast.ports.blobs import Blobs
from holdfast.ports.box import Boxes
from holdfast.ports.clock import Clock
from holdfast.ports.tools import Tool

from .execute import BoxOptions, exec_tool
from .look import read_tool
from .output import Fitted, Spool
from .people import people_tools
from .registry import Registry
from .relocate import relocating_tools
from .rewrite import rewriting_tools
from .search import search_tools
from .steering import Steering


def builtin_tools(
    *,
    boxes: Boxes,
    blobs: Blobs,
    clock: Clock,
    spool: Spool,
    options: BoxOptions | None = None,
    steering: Steering | None = None,
) -> Registry:
    """Every built-in tool; results that are too long are cut and kept whole in the `spool`."""
    tools: list[Tool] = [
        read_tool((spool.folder,)),
        *rewriting_tools(blobs),
        *relocating_tools(blobs),
        *search_tools((spool.folder,)),
        exec_tool(boxes, options or BoxOptions(), steering),
        *people_tools(clock),
    ]
    return Registry(Fitted(tool, spool) for tool in tools)
