"""The routes of numbers: as JSON, and as Prometheus and OpenMetrics read them.

The two forms of text differ in three things: the name of a counter in front of its numbers, how a
constant is called, and the mark at the end of OpenMetrics, by which a cut answer is noticed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from starlette.responses import Response

from holdfast.core.ids import Instant
from holdfast.runtime.metrics import Metric, Plant, metrics

from .bodies import NoQuery, Nothing
from .route import Ask, Entry

_PLAIN = "text/plain"
_OPEN = "application/openmetrics-text"
_TYPES = {
    _PLAIN: f"{_PLAIN}; version=0.0.4; charset=utf-8",
    _OPEN: f"{_OPEN}; version=1.0.0; charset=utf-8",
}


class MetricList(Struct, frozen=True, kw_only=True):
    """All numbers at one moment."""

    at: Instant
    metrics: tuple[Metric, ...]


async def metric_list(ask: Ask[NoQuery, Nothing]) -> MetricList:
    return MetricList(at=ask.house.clock.now(), metrics=tuple(await _measured(ask)))


async def scraped(ask: Ask[NoQuery, Nothing]) -> Response:
    wanted = _wanted(ask.request.headers.getlist("accept"))
    text = exposition(await _measured(ask), is_open=wanted == _OPEN)
    return Response(text, 200, {"Vary": "Accept"}, media_type=_TYPES[wanted])


async def _measured(ask: Ask[NoQuery, Nothing]) -> Sequence[Metric]:
    facts = ask.door.facts
    plant = Plant(
        lanes=facts.lanes,
        queue_depth=facts.queue_depth,
        health=facts.health(),
        database=facts.database,
        office=facts.office,
    )
    return await metrics(ask.house, plant)


def _wanted(accepts: Sequence[str]) -> str:
    """OpenMetrics for who asks for it at least as much as for the older form; else that one."""
    liked = dict[str, float]()
    for part in ",".join(accepts).split(","):
        name, *more = (word.strip().lower() for word in part.split(";"))
        weights = [word[2:] for word in more if word.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        liked[name] = max(weight, liked.get(name, 0.0))
    plain = max(liked.get(name, 0.0) for name in (_PLAIN, "text/*"))
    return _OPEN if liked.get(_OPEN, 0.0) > 0 and liked[_OPEN] >= plain else _PLAIN


def exposition(told: Sequence[Metric], *, is_open: bool) -> str:
    """The text. What has no numbers yet is named all the same."""
    lines = [line for metric in told for line in _lines(metric, is_open=is_open)]
    return "\n".join([*lines, *(["# EOF"] if is_open else [])]) + "\n"


def _lines(metric: Metric, *, is_open: bool) -> Iterator[str]:
    end = {"counter": "_total", "gauge": "", "info": "_info"}[metric.kind]
    kind = "gauge" if metric.kind == "info" and not is_open else metric.kind
    family, name = metric.name if is_open else metric.name + end, metric.name + end
    yield f"# HELP {family} {_escaped(metric.help, quotes=is_open)}"
    yield f"# TYPE {family} {kind}"
    for sample in metric.samples:
        yield f"{name}{_labels(sample.labels)} {sample.value!r}"


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(value, quotes=True)}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(text: str, *, quotes: bool) -> str:
    """On one line. A lone half of a character cannot be sent; it becomes a question mark."""
    clean = text.encode(errors="replace").decode().replace("\\", "\\\\").replace("\n", "\\n")
    return clean.replace('"', '\\"') if quotes else clean


METRIC_ROUTES: tuple[Entry, ...] = (
    Entry(
        "GET",
        "/api/v1/metrics",
        metric_list,
        "How the house is doing, in numbers. Counters begin with the daemon.",
        MetricList,
        errors=(503,),
    ),
    Entry(
        "GET",
        "/metrics",
        scraped,
        "The same for Prometheus: text of version 0.0.4, or OpenMetrics by `Accept`.",
        _PLAIN,
        errors=(503,),
    ),
)
