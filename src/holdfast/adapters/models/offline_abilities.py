"""What the offline model can do: one table of wordings, and the steps that each begins."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from . import offline_steps as steps
from .arithmetic import looks_like_sum
from .offline_steps import Step

Found = re.Match[str]
Begin = Callable[[str], Step]
"""Begins a step; given what the step before it said, for "write the result to …"."""


class Ability(Struct, frozen=True, kw_only=True):
    """One thing the offline model can do: how people ask for it, and what it then does."""

    name: str
    examples: tuple[str, ...]
    wordings: tuple[str, ...]
    begin: Callable[[Found], Begin | None]


QUOTED = r"`[^`]+`|\"[^\"]+\"|'[^']+'|“[^”]+”|«[^»]+»"
_PATH = rf"(?P<path>{QUOTED}|[^\s,;]+)"
_TEXT = rf"(?P<text>{QUOTED}|.+?)"
_THE = r"(?:(?:the|a|an|all|my|our|this|that|of|me|new)\s+)*"
_IN = r"\s+(?:in|inside|within|of|from|under|below)\s+(?:the\s+|my\s+)?"
_FILE = r"(?:(?:file|folder|directory|document)\s+)?(?:named\s+|called\s+)?"
_HERE = {"here", "this", "workspace", "project", "it", "folder", "directory", "there", "repository"}
_TYPES = {
    "python": "py", "markdown": "md", "text": "txt", "javascript": "js", "typescript": "ts",
    "rust": "rs", "shell": "sh", "image": "png", "c": "c", "go": "go", "java": "java",
    "json": "json", "yaml": "yaml", "toml": "toml", "html": "html", "css": "css", "csv": "csv",
    "log": "log", "xml": "xml", "sql": "sql", "pdf": "pdf",
}  # fmt: skip
_THINGS = {
    "file": "files", "folder": "folders", "directory": "folders", "directories": "folders",
    "line": "lines", "word": "words", "character": "characters", "char": "characters",
    "letter": "characters", "byte": "bytes",
}  # fmt: skip
_NO_COMMAND = r"(?:the|a|an|all|my|our|your|it|this|that|these|those|some|tests?|code)\b|[^\w./~]"


def _list(found: Found) -> Begin | None:
    words = found[0].lower()
    path = _place(_group(found, "path"))
    if "content" in words and "." in path.rpartition("/")[2].strip("."):
        return None
    deep = "recursive" in words or " tree" in words or words.startswith("tree")
    return lambda _: steps.list_folder(path, deep=deep)


def _typed(found: Found) -> Begin | None:
    """All python files; *.md files in docs."""
    pattern = _pattern(_group(found, "kind"), _group(found, "path"))
    return (lambda _: steps.find_files(pattern)) if pattern else None


def _named(found: Found) -> Begin | None:
    name = _bare(found["text"])
    if (" " in name and name == found["text"]) or (
        "strict" in found.groupdict() and not _looks_like_path(found["text"])
    ):
        return None
    folder = _place(_group(found, "path"))
    base = "" if folder == "." else f"{folder}/"
    pattern = base + (name if "/" in name else f"**/{name}")
    return lambda _: steps.find_files(pattern)


def _ending(found: Found) -> Begin:
    extension = _bare(found["text"]).lstrip("*").lstrip(".")
    return lambda _: steps.find_files(f"**/*.{extension}")


def _read(found: Found) -> Begin | None:
    groups = found.groupdict()
    path = _bare(groups["path"])
    if "loose" in groups and not _looks_like_path(groups["path"]):
        return None
    count = int(groups.get("count") or ("line " in found[0].lower()))
    if groups.get("end"):
        tail = groups["end"].lower() in {"last", "tail", "end"}
        first, last = (0, count or 10) if tail else (count or 10, 0)
        return lambda _: steps.read_file(path, first=first, last=last)
    return lambda _: steps.read_file(path)


def _count(found: Found) -> Begin | None:
    thing = found["what"].lower()
    what = _THINGS.get(thing) or _THINGS[thing.removesuffix("s")]
    path, kind = _place(_group(found, "path")), _group(found, "kind") or _group(found, "type")
    if what in {"files", "folders"}:
        if what == "folders":
            return lambda _: steps.count_files(path, what=what)
        files = _pattern(kind or "**/*", path)
        return (lambda _: steps.count_files(files, what=what)) if files else None
    if kind or "*" in path or path == ".":
        texts = _pattern(kind or "**/*", path) if kind or path == "." else path
        return (lambda _: steps.count_in_files(texts, what=what)) if texts else None
    return lambda _: steps.count_in_file(path, what=what)


def _count_text(found: Found) -> Begin:
    text, path = _bare(found["text"]), _place(_group(found, "path"))
    if path == "." or not _looks_like_path(path):
        return lambda _: steps.search(text, path)
    return lambda _: steps.count_text(text, path)


def _search(found: Found) -> Begin:
    text = _bare(_group(found, "text") or _group(found, "quoted"))
    path = _place(_group(found, "path"))
    return lambda _: steps.search(text, path)


def _summarise(found: Found) -> Begin | None:
    path = _bare(_group(found, "path"))
    return (lambda _: steps.summarise(path)) if _means_a_file(found) else None


def _compute(found: Found) -> Begin | None:
    expression = found["text"]
    return (lambda _: steps.compute(expression)) if looks_like_sum(expression) else None


def _time(_: Found) -> Begin:
    return lambda _before: steps.tell_time()


def _write(found: Found) -> Begin | None:
    return _put(found, steps.write_file)


def _append(found: Found) -> Begin | None:
    return _put(found, steps.append_file)


def _put(found: Found, act: Callable[[str, str], Step]) -> Begin | None:
    path, text = _bare(_group(found, "path")).rstrip(":"), found["text"]
    if not _looks_like_path(_group(found, "path").rstrip(":")) and not found.groupdict().get(
        "named"
    ):
        return None
    if re.fullmatch(
        r"(?:the\s+)?(?:result|answer|output|it|that|this)s?", text.strip(), re.IGNORECASE
    ):
        return lambda before: act(path, before)
    if _bare(text) == text.strip() and "\n" not in found[0] and ":" not in found[0]:
        return None
    return lambda _: act(path, _bare(text))


def _run(found: Found) -> Begin | None:
    """A command in quotes, or words that begin like one: "run the tests" is not a command."""
    command = _bare(found["text"])
    if command == found["text"].strip() and re.match(_NO_COMMAND, command, re.IGNORECASE):
        return None
    return lambda _: steps.run_command(command)


def _pattern(kind: str, path: str) -> str:
    kind = _bare(kind).lower()
    folder = _place(path)
    base = "" if folder == "." else f"{folder}/"
    if "*" in kind:
        return base + (kind if "/" in kind else f"**/{kind}")
    extension = kind[1:] if kind.startswith(".") else _TYPES.get(kind, "")
    return f"{base}**/*.{extension}" if extension else ""


def _means_a_file(found: Found) -> bool:
    """Not "read the news": one word after an article is a file only if it looks like one."""
    strict = "loose" in found.groupdict() or re.search(
        r"\b(?:the|my|our|an?)\b", found[0], re.IGNORECASE
    )
    named = re.search(r"\b(?:file|document)\b", found[0], re.IGNORECASE)
    return not strict or bool(named) or _looks_like_path(_group(found, "path"))


def _looks_like_path(text: str) -> bool:
    name = _bare(text)
    return (
        name != text.strip()
        or bool(re.search(r"[/\\]|\w\.\w|^\.\w|\*", name))
        or name in {"README", "LICENSE", "Makefile", "Dockerfile", "CHANGELOG", "NOTICE"}
    )


def _place(text: str) -> str:
    """A folder or a pattern; `.` for here."""
    path = _bare(text).rstrip("/") or "."
    return "." if path.lower() in _HERE else path


def _bare(text: str) -> str:
    """Without its quotation marks."""
    text = text.strip()
    return text[1:-1] if len(text) > 1 and re.fullmatch(QUOTED, text) else text


def _group(found: Found, name: str) -> str:
    """What a named part of the wording matched; empty if it has no such part."""
    return found.groupdict().get(name) or ""


_NUMBER = r"(?P<count>\d{1,5})"
_KIND = r"(?P<kind>[\w.*+-]+)"
_COUNTED = (
    r"(?:(?:count\s+)?(?:what\s+is\s+)?(?:the\s+)?number\s+of|count|how\s+many)\s+" + _THE +
    r"(?:(?P<kind>[.*]?[\w.*+-]+)\s+)??(?P<what>files?|folders?|director(?:y|ies)|lines?|words?|"
    r"char(?:acter)?s?|letters?|bytes?)(?:\s+of\s+(?:code|text))?"
)  # fmt: skip
_SAVE = r"(?:write|save|put|store)"

ABILITIES: tuple[Ability, ...] = (
    Ability(
        name="compute",
        examples=("compute 12 * (3 + 4)", "what is 15% of 240?"),
        wordings=(
            r"(?:compute|calculate|evaluate|work\s+out|how\s+much\s+is|what\s+is|what's|solve)\s+"
            r"(?P<text>.+)",
            r"(?P<text>[-\d(√].*)",
        ),
        begin=_compute,
    ),
    Ability(
        name="time",
        examples=("what time is it?",),
        wordings=(
            r"what(?:'s|\s+is)?\s+(?:the\s+)?(?:current\s+)?(?:time|date|day)(?:\s+is\s+it)?"
            r"(?:\s+(?:today|now|right now))?",
            r"(?:tell|show|give)\s+me\s+the\s+(?:current\s+)?(?:time|date)|time|date",
            r"(?:what|which)\s+day\s+is\s+(?:it|today)(?:\s+today)?|what(?:'s|\s+is)\s+today'?s?\s+date",
        ),
        begin=_time,
    ),
    Ability(
        name="run",
        examples=("run `ls -l`",),
        wordings=(
            r"(?:run|execute|exec)\s+(?:the\s+)?(?:(?:shell\s+)?command\s*:?\s+)?(?P<text>.+)",
            r"[$!]\s*(?P<text>.+)",
        ),
        begin=_run,
    ),
    Ability(
        name="append",
        examples=('append "milk" to list.txt',),
        wordings=(
            rf"(?:append|add)\s+{_TEXT}\s+to\s+(?:the\s+end\s+of\s+)?(?:the\s+)?"
            rf"(?P<named>file\s+)?{_PATH}",
            rf"append\s+to\s+(?:the\s+)?(?P<named>file\s+)?{_PATH}\s*:\s*(?P<text>.+)",
        ),
        begin=_append,
    ),
    Ability(
        name="write",
        examples=('write "hello" to notes.txt',),
        wordings=(
            rf"{_SAVE}\s+(?:in)?to\s+(?:the\s+)?(?P<named>file\s+)?{_PATH}\s*:\s*(?P<text>.+)",
            rf"{_SAVE}\s+{_TEXT}\s+(?:in)?(?:to|in|as)\s+(?:the\s+|a\s+)?(?P<named>file\s+"
            rf"(?:named\s+|called\s+)?)?{_PATH}",
            rf"(?:create|make|write)\s+(?:a\s+|the\s+|new\s+)*(?P<named>file\s+)?"
            rf"(?:named\s+|called\s+)?{_PATH}\s+(?:with|containing|saying|that\s+says)\s+"
            rf"(?:the\s+)?(?:text|content|contents|words?)?\s*:?\s*(?P<text>.+)",
        ),
        begin=_write,
    ),
    Ability(
        name="count",
        examples=("how many lines are in main.py?", "count the words in *.md"),
        wordings=(
            rf"(?:count|how\s+many|how\s+often)\s+(?:the\s+)?(?:(?:occurrences|matches|times|lines)\s+"
            rf"(?:of\s+|with\s+|containing\s+|that\s+contain\s+)?)?(?:does\s+|do\s+|is\s+)?"
            rf"(?P<text>{QUOTED})\s*(?:appears?|occurs?|used|mentioned|found)?\s*"
            rf"(?:{_IN}{_FILE}{_PATH})?",
            rf"(?:count|how\s+many)\s+(?:the\s+)?(?:occurrences|matches|times)\s+"
            rf"(?:of\s+|does\s+|is\s+)?{_TEXT}(?:\s+(?:appears?|occurs?|used|mentioned|found))?"
            rf"{_IN}{_FILE}{_PATH}",
            rf"{_COUNTED}(?:\s+(?:are|is)(?:\s+there)?)?{_IN}{_THE}(?P<type>[.*]?[\w.*+-]+)\s+files"
            rf"(?:{_IN}{_FILE}{_PATH})?",
            rf"{_COUNTED}(?:\s+(?:are|is)(?:\s+there)?)?"
            rf"(?:(?:{_IN}|\s+){_FILE}{_PATH}(?:\s+folder|\s+directory)?)?",
            rf"{_COUNTED}\s+(?:do(?:es)?\s+)(?:the\s+)?{_FILE}{_PATH}(?:\s+(?:have|contain))?",
            rf"{_COUNTED}\s+(?:do\s+(?:i|we)\s+have|are\s+there)(?:{_IN}{_FILE}{_PATH})?",
        ),
        begin=lambda found: _count(found) if "what" in found.groupdict() else _count_text(found),
    ),
    Ability(
        name="summarise",
        examples=("summarise README.md",),
        wordings=(
            rf"(?:summari[sz]e|sum\s+up|tl;?dr)\s+{_THE}(?:contents?\s+of\s+)?{_THE}{_FILE}{_PATH}",
            rf"(?:give\s+me\s+)?{_THE}(?:short\s+|brief\s+)?(?:summary|overview)\s+of\s+{_THE}"
            rf"{_FILE}{_PATH}",
            rf"what(?:'s|\s+is)\s+(?P<loose>){_THE}{_FILE}{_PATH}\s+about",
        ),
        begin=_summarise,
    ),
    Ability(
        name="list",
        examples=("list the files", "list the files in src"),
        wordings=(
            rf"(?:list|show|ls|dir|tree)(?:\s+me)?\s+{_THE}(?:files(?:\s+and\s+folders)?|folders?|"
            rf"contents?|director(?:y|ies)|everything)(?:(?:{_IN}|\s+in\s+){_FILE}{_PATH}(?:\s+folder|"
            rf"\s+directory)?)?(?:\s+recursively)?",
            rf"(?:ls|dir|tree)(?:\s+{_PATH})?",
            r"list(?:\s+(?P<path>\S+/))?",
            rf"(?:what|which)\s+files\s+(?:are|do\s+(?:i|we|you)\s+have|exist)(?:\s+there)?"
            rf"(?:(?:{_IN}|\s+)(?:this\s+)?{_FILE}{_PATH}?(?:folder|directory)?)?",
            r"what(?:'s|\s+is)\s+in\s+(?:the\s+|this\s+|my\s+)?(?P<path>folder|directory|here|\S+/)",
        ),
        begin=_list,
    ),
    Ability(
        name="find",
        examples=("find *.py", "find files named config"),
        wordings=(
            rf"(?:find|list|show|locate|get)(?:\s+me)?\s+{_THE}{_KIND}\s+files?"
            rf"(?:{_IN}{_FILE}{_PATH})?",
            rf"(?:find|list|show|locate|which|what)\s+(?:me\s+)?{_THE}files?\s+(?:that\s+)?"
            rf"(?:(?:are\s+)?(?:named|called|matching)|match|like)\s+(?P<text>{QUOTED}|\S+)"
            rf"(?:{_IN}{_FILE}{_PATH})?",
            rf"(?:find|locate|where\s+is|where's|look\s+for)\s+(?P<strict>){_THE}{_FILE}"
            rf"(?P<text>{QUOTED}|[^\s\"'`]+)(?:{_IN}{_FILE}{_PATH})?",
        ),
        begin=lambda found: _typed(found) if "kind" in found.groupdict() else _named(found),
    ),
    Ability(
        name="find by ending",
        examples=(),
        wordings=(
            r"(?:find|list|show|which|what)\s+(?:me\s+)?(?:the\s+|all\s+)*files?\s+(?:that\s+)?"
            r"(?:end(?:ing|s)?\s+(?:in|with)|with\s+(?:the\s+)?extension)\s+(?P<text>\S+)",
        ),
        begin=_ending,
    ),
    Ability(
        name="search",
        examples=('search for "TODO"', "search for import in src"),
        wordings=(
            rf"grep\s+(?:-\w+\s+)*(?P<text>{QUOTED}|\S+)(?:\s+{_PATH})?",
            rf"(?:(?:search|grep)(?:\s+for)?|look\s+for)\s+{_TEXT}(?:{_IN}{_FILE}{_PATH})?",
            rf"(?:search|look)\s+(?:in\s+)?(?:the\s+)?{_FILE}{_PATH}\s+for\s+{_TEXT}",
            rf"find\s+(?:the\s+)?(?:text|word|string|phrase|lines?\s+(?:with|containing))\s+{_TEXT}"
            rf"(?:{_IN}{_FILE}{_PATH})?",
            rf"find\s+{_TEXT}{_IN}{_FILE}{_PATH}",
            rf"find\s+(?P<quoted>{QUOTED}|\S+)",
            rf"(?:which|what)\s+files\s+(?:contain|mention|use|have|include)\s+{_TEXT}"
            rf"(?:{_IN}{_FILE}{_PATH})?",
            rf"where\s+is\s+{_TEXT}\s+(?:mentioned|used|defined|called)(?:{_IN}{_FILE}{_PATH})?",
        ),
        begin=_search,
    ),
    Ability(
        name="read",
        examples=("read README.md", "show the last 5 lines of app.log"),
        wordings=(
            rf"(?:read|show|print|display|give|get|what\s+(?:is|are))?(?:\s*me)?\s*(?:the\s+)?"
            rf"(?P<end>first|last|top)\s+{_NUMBER}?\s*lines?\s+(?:of|from|in)\s+(?:the\s+)?{_FILE}{_PATH}",
            rf"(?P<end>head|tail)\s+(?:-n?\s*)?(?:{_NUMBER}\s+)?{_PATH}",
            rf"(?:read|cat|open|view)(?:\s+me)?\s+{_THE}(?:contents?\s+of\s+)?{_THE}{_FILE}{_PATH}",
            rf"(?:show|print|display|output|type)(?:\s+me)?\s+{_THE}(?:contents?\s+of\s+)?{_THE}"
            rf"(?P<loose>){_FILE}{_PATH}",
            rf"what(?:'s|\s+is|\s+does)\s+(?P<loose>)(?:in\s+)?{_THE}{_FILE}{_PATH}(?:\s+say|\s+contain)?",
        ),
        begin=_read,
    ),
)
