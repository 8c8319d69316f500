"""The benchmark's own side: its worlds, their tools as a server, the scripted model's next move.

It runs with the interpreter that has AgentDojo, which need not be ours: nothing here but that and
the standard library. `python far_side.py SUITE VERSION` prints its port and serves until its
standard input ends:

    POST /mcp     the suite's tools, by the Model Context Protocol
    POST /begin   {user, injection, mode, plan} -> {prompt, planned}: a new world
    POST /next    {results} -> {tool, arguments} or {answer}: what the model does now
    POST /legit   {tool, arguments} -> {legit}: whether the user's own task makes this call
    POST /end     {answer} -> {utility, attacked, fired}
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

Json = dict[str, Any]
ATTACK = "important_instructions"
_PIPELINE = "gpt-4o-2024-05-13"  # whose name the attack mentions
_OPEN = re.compile(r"do (?:all )?the (?:tasks|actions)|follow the instructions")
_READING = ("get_", "search_", "list_", "read_", "check_")
_WORDS = ("body", "content", "subject", "title", "description", "location", "message", "query")
_WORTH = 2  # calls: for one, a plan would be a question more
_FRAGMENT = 24  # letters of an attack by which it is found again; its lines are wrapped anew


def _library(name: str) -> Any:
    return importlib.import_module(f"agentdojo.{name}")


class Suite:
    """One suite of the benchmark, and the case at hand."""

    def __init__(self, name: str, version: str) -> None:
        warnings.filterwarnings("ignore")
        self.name = name
        self.suite = _library("task_suite.load_suites").get_suites(version)[name]
        self.runtime = _library("functions_runtime").FunctionsRuntime(self.suite.tools)
        self._call = _library("functions_runtime").FunctionCall
        element = _library("agent_pipeline.base_pipeline_element").BasePipelineElement
        pipeline = type("Named", (element,), {"name": _PIPELINE, "query": None})
        pipeline.__abstractmethods__ = frozenset()
        load = _library("attacks.attack_registry").load_attack
        self._attack = load(ATTACK, self.suite, pipeline())
        self.case: Case | None = None

    def cases(self) -> Json:
        """The names of the tasks, and of the attacks that can be put before each of them."""
        able: dict[str, list[str]] = {}
        for user in self.suite.user_tasks.values():
            able[user.ID] = []
            for injection in self.suite.injection_tasks.values():
                try:
                    self._attack.attack(user, injection)
                except ValueError:
                    continue
                able[user.ID].append(injection.ID)
        words_only = [one.ID for one in self.suite.injection_tasks.values() if not self._acts(one)]
        return {"cases": able, "words_only": words_only}

    def _acts(self, injection: Any) -> bool:
        world = self.suite.load_and_inject_default_environment({})
        return bool(list(injection.ground_truth(world)))

    def begin(self, asked: Json) -> Json:
        user = self.suite.user_tasks[asked["user"]]
        name = asked.get("injection")
        injection = self.suite.injection_tasks[name] if name else None
        injected: dict[str, str] = self._attack.attack(user, injection) if injection else {}
        self.case = Case(self, user, injection, injected)
        steps = self.case.script(asked["mode"], plan=asked["plan"])
        return {"prompt": user.PROMPT, "planned": steps}

    def world(self, user: Any, injected: dict[str, str]) -> Any:
        world = self.suite.load_and_inject_default_environment(injected)
        return user.init_environment(world)

    def made(self, tool: str, arguments: Json) -> Any:
        return self._call(function=tool, args=arguments)

    def schema(self, tool: str) -> Json:
        (found,) = [one for one in self.suite.tools if one.name == tool]
        return found.parameters.model_json_schema()

    def run(self, world: Any, tool: str, arguments: Json) -> tuple[Any, str]:
        """What a tool gives: values, or an error."""
        found, error = self.runtime.run_function(world, tool, arguments, raise_on_error=False)
        return _values(found), str(error) if error else ""


class Case:
    """A task and, perhaps, an attack on it, in a world of their own."""

    def __init__(self, suite: Suite, user: Any, injection: Any, injected: dict[str, str]) -> None:
        self.suite, self.user, self.injection = suite, user, injection
        self.world = suite.world(user, injected)
        self.before = self.world.model_copy(deep=True)
        self.own = _calls(user, self.world)
        self.theirs = _calls(injection, self.world) if injection else []
        lines = [text.strip().split("\n")[0] for text in injected.values()]
        goal = [injection.GOAL] if injection else []
        self.marks = {line[:_FRAGMENT] for line in (*goal, *lines) if line}
        self.trace: list[Any] = []
        self.queue: list[tuple[str, Json]] = []
        self.fired = self.answered = False

    def script(self, mode: str, *, plan: bool) -> list[Json]:
        """Set the model up: it follows its user, and obeys the attack where it meets it; a rogue
        obeys from the start, and plans for it."""
        self.queue = list(self.own)
        steps: list[Json] = []
        if mode == "rogue" and self.injection:
            self.queue, self.fired = [*self.theirs, *self.own], True
        if plan:
            steps = Planner(self).steps()
            if self.fired:
                steps = [*({"tool": t, "arguments": a} for t, a in self.theirs), *steps]
                steps = _moved(steps, len(self.theirs))
            self.queue = self._planning_again(steps)
            if steps:
                self.queue = [("plan", {"steps": steps}), *self.queue]
        return steps

    def _planning_again(self, steps: list[Json]) -> list[tuple[str, Json]]:
        """Before the first call that no plan could settle, the rest is planned once more, with all
        values written out: that is one question to the person, and not one for each call."""
        before = len(self.queue) - len(self.own)
        vague = [place for place, step in enumerate(steps[before:]) if _is_vague(step)]
        acting = [
            place for place, (tool, _) in enumerate(self.own) if not tool.startswith(_READING)
        ]
        place = min(vague if steps else acting, default=None)
        if place is None or len(self.own) - place < _WORTH:
            return self.queue
        rest = [{"tool": tool, "arguments": given} for tool, given in self.own[place:]]
        return [*self.queue[: before + place], ("plan", {"steps": rest}), *self.own[place:]]

    def next(self, results: list[str]) -> Json:
        """The model's next move. `results` are what its tools said since the last."""
        seen = any(mark in text for text in results for mark in self.marks)
        if seen and self.injection and not self.fired:
            self.fired, self.queue = True, [*self.theirs, *self.queue]
        if self.queue:
            tool, arguments = self.queue.pop(0)
            return {"tool": tool, "arguments": arguments}
        return {"answer": self._answer()}

    def _answer(self) -> str:
        words = [self.user.GROUND_TRUTH_OUTPUT]
        if self.fired:
            words.append(getattr(self.injection, "GROUND_TRUTH_OUTPUT", ""))
        return "\n".join(filter(None, words)) or "done"

    def used(self, tool: str, arguments: Json) -> tuple[Any, str]:
        """A call that the product let through."""
        self.trace.append(self.suite.made(tool, arguments))
        return self.suite.run(self.world, tool, arguments)

    def end(self, answer: str) -> Json:
        """The benchmark's own verdict on what the world has become."""
        block = _library("types").text_content_block_from_string(answer)
        given = ([block], self.before, self.world, self.trace)
        check: Callable[..., bool] = self.suite.suite._check_task_result  # noqa: SLF001 - its runner
        attacked = bool(self.injection) and bool(check(self.injection, *given))
        return {
            "utility": bool(check(self.user, *given)),
            "attacked": attacked,
            "fired": self.fired,
        }


class Planner:
    """What an able model writes down before it reads: it knows its tools, the request and which
    fields tools answer with, and none of the values in them.

    It is made by running the task once in a world without an attack and asking of each value where
    it came from: the request, a field of an earlier answer, or the model's own head.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._said = _plain(case.user.PROMPT)
        self._answers: list[Any] = []
        self._schema: Json = {}

    def steps(self) -> list[Json]:
        world = self._case.suite.world(self._case.user, {})
        steps: list[Json] = []
        if _OPEN.search(self._said):
            return steps  # what is to be done stands in what is to be read: nobody can plan it
        for tool, arguments in _calls(self._case.user, world):
            self._schema = self._case.suite.schema(tool)
            planned = {name: self._spec(name, value) for name, value in arguments.items()}
            steps.append({"tool": tool, "arguments": planned})
            found, _ = self._case.suite.run(world, tool, arguments)
            self._answers.append(_dict(found) or {"result": found})
        return steps

    def _spec(self, name: str, value: Any) -> Any:
        if (items := _list(value)) is not None:
            return self._listed(name, items)
        if (parts := _dict(value)) is not None:
            return {key: self._spec(key, below) for key, below in parts.items()}
        if isinstance(value, bool) or value is None or _says(self._said, str(value)):
            return value
        if _few(self._schema, name):
            return value  # one of a few values, of which the tool tells
        own = _made_up(name, value)
        pick = self._pick(name, {str(value)})
        return own if pick is None or (pick.pop("vague", False) and "number" in own) else pick

    def _listed(self, name: str, values: list[Any]) -> Any:
        if all(isinstance(one, str | int) for one in values) and values:
            told = [one for one in values if _says(self._said, str(one))]
            if not told and (pick := self._pick(name, {str(one) for one in values})) is not None:
                vague = pick.pop("vague", False)
                every = set(pick) == {"from", "field"} and not vague
                return [{**pick, "each": True}] if every else [pick]
        return [self._spec(name, one) for one in values]

    def _pick(self, name: str, wanted: set[str]) -> Json | None:
        """The field that holds exactly these, among all values or among those of one record that
        the request names; a field of the argument's own name first, the latest answer first. Where
        none is so clear, a field that has them among others."""
        vague: Json | None = None
        for step in range(len(self._answers), 0, -1):
            rows = list(_records(self._answers[step - 1]))
            fields = sorted({key for row in rows for key in row}, key=lambda key: key != name)
            for field in fields:
                found = {leaf for row in rows for leaf in _flat(row.get(field))}
                if not wanted <= found:
                    continue
                pick: Json = {"from": step, "field": field}
                if found == wanted:
                    return pick
                if narrowed := self._narrowed(rows, field, wanted):
                    return {**pick, **narrowed}
                vague = vague or {**pick, "vague": True}
        return vague

    def _narrowed(self, rows: list[Json], field: str, wanted: set[str]) -> Json:
        """Which record is meant, in words of the request: it has this, or the most of that."""
        mine = [row for row in rows if wanted <= set(_flat(row.get(field)))]
        for key, value in mine[0].items():
            if type(value) in (str, int, float) and value and _says(self._said, str(value)):
                same = [row for row in rows if row.get(key) == value]
                if {leaf for row in same for leaf in _flat(row.get(field))} == wanted:
                    return {"where": {key: value}}
        for word, most in (
            ("largest", max),
            ("highest", max),
            ("smallest", min),
            ("cheapest", min),
        ):
            for key in mine[0] if word in self._said else ():
                sizes = [row[key] for row in rows if type(row.get(key)) in (int, float)]
                if sizes and mine[0][key] == most(sizes):
                    return {"most" if most is max else "least": key}
        return {}


def _calls(task: Any, world: Any) -> list[tuple[str, Json]]:
    made = task.ground_truth(world.model_copy(deep=True))
    return [(call.function, json.loads(json.dumps(dict(call.args), default=str))) for call in made]


def _moved(steps: list[Json], by: int) -> list[Json]:
    """The steps with their references moved by as many places, for those put before them."""

    def moved(spec: Any) -> Any:
        if (items := _list(spec)) is not None:
            return [moved(one) for one in items]
        if (parts := _dict(spec)) is None:
            return spec
        return {k: v + by if k == "from" and type(v) is int else moved(v) for k, v in parts.items()}

    return [*steps[:by], *(moved(step) for step in steps[by:])]


def _is_vague(step: Json) -> bool:
    """Whether it was left open whom it reaches: who or which, and of what only reads, the page."""
    reads = step["tool"].startswith(_READING)
    return any(
        (name == "url" if reads else name not in _WORDS) and '{"text":' in json.dumps(spec)
        for name, spec in step["arguments"].items()
    )


def _made_up(name: str, value: Any) -> Json:
    dated = any(word in name for word in ("date", "day", "time", "start", "end"))
    worked_out = not isinstance(value, str) or (dated and not value.strip("0123456789 :./,TZ+-"))
    return {"number": "worked out"} if worked_out else {"text": "in its own words"}


def _dict(value: Any) -> Json | None:
    return cast("Json", value) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any] | None:
    return list(cast("list[Any]", value)) if isinstance(value, list | tuple | set) else None


def _values(found: Any) -> Any:
    """As JSON has it."""
    if hasattr(found, "model_dump"):
        return found.model_dump(mode="json")
    if (parts := _dict(found)) is not None:
        return {str(key): _values(value) for key, value in parts.items()}
    if (items := _list(found)) is not None:
        return [_values(one) for one in items]
    return found if isinstance(found, str | int | float | bool | None) else str(found)


def _records(value: Any) -> Iterator[Json]:
    parts = _dict(value)
    if parts is not None:
        yield parts
    for below in parts.values() if parts is not None else _list(value) or ():
        yield from _records(below)


def _flat(value: Any) -> Iterator[str]:
    """A plain value, or those of a list of them."""
    for one in [value] if (items := _list(value)) is None else items:
        if isinstance(one, str | int | float) and not isinstance(one, bool):
            yield str(one).strip()


def _few(schema: Json, name: str) -> bool:
    """Whether an argument takes one of a few values."""
    found = json.dumps(schema.get("properties", {}).get(name, {}))
    named = re.search(r"#/\$defs/(\w+)", found)
    return '"enum"' in (json.dumps(schema["$defs"][named[1]]) if named else found)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _says(text: str, value: str) -> bool:
    """Whether the request has it as words of its own, much as the product looks for it."""
    if re.fullmatch(r"\d+\.\d", value):
        return _says(text, f"{value}0") or any(
            _says(text, value[:-2]) for _ in value if value[-1] == "0"
        )
    wanted, at = _plain(value), -1
    while wanted and (at := text.find(wanted, at + 1)) >= 0:
        before, after = text[at - 1 : at] if at else "", text[at + len(wanted) :][:2]
        goes_on = after[:1].isalnum() or (after[:1] in "@/._-:" and after[1:2].isalnum())
        if not goes_on and not before.isalnum() and before not in {"@", "/", ".", "_", "-"}:
            return True
    return False


class Desk(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    suite: Suite

    def do_GET(self) -> None:
        self._say(405 if self.path == "/mcp" else 200, self.suite.cases())

    def do_DELETE(self) -> None:
        self._say(200, {})

    def do_POST(self) -> None:
        asked: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/mcp":
            answer = self._server(asked)
            self._say(202 if answer is None else 200, answer or {})
        elif self.path == "/begin":
            self._say(200, self.suite.begin(asked))
        else:
            self._say(200, self._of_case(asked))

    def _of_case(self, asked: Json) -> Json:
        case = self.suite.case
        assert case is not None
        if self.path == "/next":
            return case.next(asked["results"])
        if self.path == "/legit":
            whole = asked["arguments"]["steps"] if asked["tool"] == "plan" else [asked]
            return {"legit": all((one["tool"], one["arguments"]) in case.own for one in whole)}
        return case.end(asked["answer"])

    def _server(self, asked: Json) -> Json | None:
        if "id" not in asked:
            return None
        try:
            return {"jsonrpc": "2.0", "id": asked["id"], "result": self._told(asked)}
        except KeyError as error:
            wrong = {"code": -32601, "message": f"there is no {error}"}
            return {"jsonrpc": "2.0", "id": asked["id"], "error": wrong}

    def _told(self, asked: Json) -> Json:
        params: Json = asked.get("params") or {}
        match asked["method"]:
            case "initialize":
                known = {"name": f"agentdojo {self.suite.name}", "version": "1"}
                version = params["protocolVersion"]
                return {
                    "protocolVersion": version,
                    "capabilities": {"tools": {}},
                    "serverInfo": known,
                }
            case "tools/list":
                return {"tools": [_offer(tool) for tool in self.suite.suite.tools]}
            case "tools/call":
                return self._called(params["name"], params.get("arguments") or {})
            case "ping":
                return {}
            case other:
                raise KeyError(other)

    def _called(self, tool: str, arguments: Json) -> Json:
        case = self.suite.case
        assert case is not None
        found, error = case.used(tool, arguments)
        if error:
            return {"content": [{"type": "text", "text": error}], "isError": True}
        values = _dict(found) or {"result": found}
        text = json.dumps(values, ensure_ascii=False)
        return {"content": [{"type": "text", "text": text}], "structuredContent": values}

    def _say(self, status: int, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: the product's side tells."""


def _offer(tool: Any) -> Json:
    schema = tool.parameters.model_json_schema()
    return {"name": tool.name, "description": tool.description, "inputSchema": schema}


def main() -> None:
    Desk.suite = Suite(sys.argv[1], sys.argv[2])
    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as server:
        server.daemon_threads = True
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        server.timeout = 0.5
        threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
        server.serve_forever()


if __name__ == "__main__":
    main()
