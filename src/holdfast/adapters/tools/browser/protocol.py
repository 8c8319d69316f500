"""The shapes of what a browser says, as far as it is read: other fields are not looked at."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class Attached(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Target.attachedToTarget`."""

    session_id: str
    target_info: Target


class Target(Struct, frozen=True, kw_only=True, rename="camel"):
    """A tab, or something else that runs in the browser."""

    target_id: str
    type: str = ""
    opener_id: str = ""


class Created(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Target.createTarget`."""

    target_id: str


class Detached(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Target.detachedFromTarget`."""

    session_id: str


class Version(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Browser.getVersion`."""

    product: str
    user_agent: str


class Navigated(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Page.navigate`."""

    loader_id: str = ""
    error_text: str = ""
    is_download: bool = False


class Lifecycle(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Page.lifecycleEvent`."""

    frame_id: str
    loader_id: str
    name: str


class Started(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Page.frameStartedLoading` and its like."""

    frame_id: str


class HttpAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """How a server answered."""

    status: int = 0


class Responded(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Network.responseReceived`."""

    loader_id: str
    type: str = ""
    frame_id: str = ""
    response: HttpAnswer = HttpAnswer()


class Dialog(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Page.javascriptDialogOpening`."""

    type: str = ""
    message: str = ""


class Download(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Browser.downloadWillBegin`."""

    suggested_filename: str = ""


class Challenge(Struct, frozen=True, kw_only=True, rename="camel"):
    """Who wants a name and a password."""

    source: str = ""
    origin: str = ""


class AuthRequired(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Fetch.authRequired`."""

    request_id: str
    auth_challenge: Challenge


class Paused(Struct, frozen=True, kw_only=True, rename="camel"):
    """`Fetch.requestPaused`."""

    request_id: str


class Frame(Struct, frozen=True, kw_only=True, rename="camel"):
    """A document of a page."""

    id: str


class FrameTree(Struct, frozen=True, kw_only=True, rename="camel"):
    """A document and those in it."""

    frame: Frame
    child_frames: tuple[FrameTree, ...] = ()


class Frames(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Page.getFrameTree`."""

    frame_tree: FrameTree


class World(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Page.createIsolatedWorld`."""

    execution_context_id: int


class Value(Struct, frozen=True, kw_only=True, rename="camel"):
    """Something of the page's scripts."""

    type: str = ""
    subtype: str = ""
    value: Any = None
    object_id: str = ""
    description: str = ""
    unserializable_value: str = ""


class Fault(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a script failed."""

    text: str = ""
    exception: Value = Value()


class Evaluated(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Runtime.evaluate` and `Runtime.callFunctionOn`."""

    result: Value = Value()
    exception_details: Fault | None = None


class Resolved(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `DOM.resolveNode`."""

    object: Value


class Node(Struct, frozen=True, kw_only=True, rename="camel"):
    """An element, by the number that it keeps."""

    backend_node_id: int


class Described(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `DOM.describeNode`."""

    node: Node


class Quads(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `DOM.getContentQuads`: corners in the window, x and y by turns."""

    quads: tuple[tuple[float, float, float, float, float, float, float, float], ...] = ()


class AxValue(Struct, frozen=True, kw_only=True, rename="camel"):
    """A value of the accessibility tree."""

    value: Any = None


class AxProperty(Struct, frozen=True, kw_only=True, rename="camel"):
    """A property of one of its nodes."""

    name: str
    value: AxValue = AxValue()


class AxNode(Struct, frozen=True, kw_only=True, rename="camel"):
    """One of its nodes."""

    node_id: str
    child_ids: tuple[str, ...] = ()
    ignored: bool = False
    role: AxValue = AxValue()
    name: AxValue = AxValue()
    value: AxValue = AxValue()
    properties: tuple[AxProperty, ...] = ()
    element: int = field(name="backendDOMNodeId", default=0)


class AxTree(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Accessibility.getFullAXTree`."""

    nodes: tuple[AxNode, ...] = ()


class Size(Struct, frozen=True, kw_only=True, rename="camel"):
    """A size in CSS pixels."""

    width: float
    height: float


class Metrics(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Page.getLayoutMetrics`."""

    css_content_size: Size


class Picture(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Page.captureScreenshot`: base64."""

    data: str


class Entry(Struct, frozen=True, kw_only=True, rename="camel"):
    """A page of the history."""

    id: int


class History(Struct, frozen=True, kw_only=True, rename="camel"):
    """The answer of `Page.getNavigationHistory`."""

    current_index: int
    entries: tuple[Entry, ...]
