"""`/v1/files`: put here, listed, told about, given back, deleted."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.core.error import Unavailable
from holdfast.runtime import uploads
from holdfast.runtime.uploads import Given, Upload

from .asked import Asked
from .errors import Wrong

Said = dict[str, Any]
_PURPOSES = ("user_data", "vision", "assistants")
_LONGEST_NAME, _FIELDS, _FIELD = 255, 10, 10_000
_SHORTEST, _LONGEST = 3_600, 2_592_000
_MOST = 10_000
_ANY = "application/octet-stream"


async def create(asked: Asked) -> Said:
    """One file of a form; as large as a body may be."""
    kind = asked.request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        raise Wrong("A file is sent as multipart/form-data.", param="file")
    sizes = {"max_files": 1, "max_fields": _FIELDS, "max_part_size": _FIELD}
    try:
        async with asked.request.form(**sizes) as form:
            given = await _given(form)
    except HTTPException as error:
        raise Wrong(f"That is no form: {error.detail}") from None
    except OSError as error:  # what is on its way lies in a file, too
        what = f"the file cannot be taken in: {error.strerror}"
        hint = "make room where temporary files are"
        raise Unavailable(what, code="not_kept", hint=hint) from error
    return told(await uploads.put(asked.house, given, asked.by))


async def _given(form: Mapping[str, UploadFile | str]) -> Given:
    """Raises `Wrong`, saying where."""
    known = {"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"}
    for strange in set(form) - known:
        what = f"Unknown parameter: '{strange[:100]}'."
        raise Wrong(what, param=strange[:100], code="unknown_parameter")
    file, purpose = form.get("file"), form.get("purpose")
    if not isinstance(file, UploadFile):
        raise Wrong("'file' must be a file.", param="file", code="missing_parameter")
    if purpose not in _PURPOSES:
        what = f"'purpose' must be one of {', '.join(_PURPOSES)}: nothing else is done with files."
        raise Wrong(what, param="purpose")
    name = (file.filename or "file").replace("\\", "/").rpartition("/")[2]
    name = "".join(one for one in name if one.isprintable())[:_LONGEST_NAME] or "file"
    media = (file.content_type or "").partition(";")[0].strip().lower()
    if not media or media == _ANY:
        media = mimetypes.guess_type(name)[0] or _ANY
    return Given(
        name=name,
        media_type=media,
        purpose=str(purpose),
        data=await file.read(),
        lasts=_lasts(form),
    )


def _lasts(form: Mapping[str, UploadFile | str]) -> int:
    """For how many seconds; 0: until it is deleted."""
    anchor, seconds = form.get("expires_after[anchor]"), form.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return 0
    if anchor != "created_at":
        where = "expires_after[anchor]"
        raise Wrong(f"'{where}' must be created_at.", param=where)
    text = seconds if isinstance(seconds, str) and len(seconds) < 10 else ""
    found = int(text) if text.isascii() and text.isdecimal() else 0
    if not _SHORTEST <= found <= _LONGEST:
        where = "expires_after[seconds]"
        raise Wrong(f"'{where}' must be from {_SHORTEST} to {_LONGEST}.", param=where)
    return found


async def listed(asked: Asked) -> Said:
    """Newest first, a page at a time."""
    query = asked.request.query_params
    found = list(await uploads.all_of(asked.house, asked.by))
    if query.get("order", "desc") not in ("asc", "desc"):
        raise Wrong("'order' must be asc or desc.", param="order")
    if query.get("order", "desc") == "desc":
        found.reverse()
    if purpose := query.get("purpose"):
        found = [one for one in found if one.purpose == purpose]
    if after := query.get("after"):
        places = [place for place, one in enumerate(found) if one.id == after]
        if not places:
            raise Wrong(f"There is no file {after[:100]!r} to go on after.", param="after")
        found = found[places[0] + 1 :]
    page = found[: _limit(query.get("limit"))]
    ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else _NO_ENDS
    more = len(page) < len(found)
    return {"object": "list", "data": [told(one) for one in page], **ends, "has_more": more}


_NO_ENDS = {"first_id": "", "last_id": ""}


def _limit(text: str | None) -> int:
    if text is None:
        return _MOST
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= _MOST):
        raise Wrong(f"'limit' must be from 1 to {_MOST}.", param="limit")
    return int(text)


async def show(asked: Asked) -> Said:
    return told(await uploads.find(asked.house, asked.request.path_params["id"], asked.by))


async def content(asked: Asked) -> Response:
    """The bytes as they came, for saving: no browser may take them for a page of ours."""
    _, data = await uploads.fetch(asked.house, asked.request.path_params["id"], asked.by)
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Response(data, 200, headers, _ANY)


async def forget(asked: Asked) -> Said:
    name = asked.request.path_params["id"]
    await uploads.forget(asked.house, name, asked.by)
    return {"id": name, "object": "file", "deleted": True}


def told(one: Upload) -> Said:
    said: Said = {
        "id": one.id,
        "object": "file",
        "bytes": one.size,
        "created_at": one.created_at // 1000,
        "filename": one.name,
        "purpose": one.purpose,
        "status": "processed",
    }
    return {**said, "expires_at": one.expires_at // 1000} if one.expires_at else said
