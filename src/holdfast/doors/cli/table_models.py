"""The commands about models."""

from __future__ import annotations

from .command import CHECKING, Command, Option

MODELS = (
    Command(
        "model list",
        "List the models that can be used, what they can, and what a million tokens cost.",
        "choosing:model_list",
        arguments=(("[PATTERN]", "only those whose name holds this"),),
        takes=(0, 1),
        examples=(("holdfast model list claude", "what `run -m` takes"),),
        more="Providers are asked for their lists at most once an hour; `model refresh` asks now.",
    ),
    Command(
        "model set",
        "Choose the model of a role, from now on and over a restart.",
        "choosing:choose",
        arguments=(("[NAME]", "which one; left out, you pick it from the list"),),
        takes=(0, 1),
        options=(
            Option("--role", "ROLE", "executor (default), evaluator, planner, small or embedder"),
            Option("--clear", "", "take the choice back"),
        ),
        examples=(
            ("holdfast model set anthropic/claude-sonnet-5-5", "for tasks that name none"),
            ("holdfast model set --role small ollama", "for what is small"),
        ),
        more="A name may be short: another case, its beginning, or without its provider where"
        " only one has it. What config.toml says goes before a choice.",
    ),
    Command(
        "model refresh",
        "Ask all providers for their models now.",
        "choosing:refresh",
        arguments=(("[PATTERN]", "show only those whose name holds this"),),
        takes=(0, 1),
        examples=(("holdfast model refresh", "after a provider has got new ones"),),
    ),
    Command(
        "model health",
        "Show how the models are that were asked lately, and which are left alone.",
        "models:health",
        examples=(("holdfast model health", "why was another model asked?"),),
    ),
    Command(
        "model ask",
        "Ask a model one thing, outside any task: the answer as it comes.",
        "models:ask",
        arguments=(("[TEXT...]", "what to say; a pipe is added to it"),),
        takes=(0, None),
        options=(
            Option("-m --model", "NAME", "which model, `provider/model` (default: the role's)"),
            Option("--role", "ROLE", "as what it is asked, and what the cost is for"),
            Option("--system", "TEXT", "what it is told before all else"),
        ),
        exits=CHECKING,
        examples=(
            ("holdfast model ask say hello", "does my provider work?"),
            ("git log -5 | holdfast model ask -m openai sum up", "a pipe is added"),
        ),
        more="No tools, no files, no record of what was said; the same budgets and fallbacks as"
        " every call of a model. With --json the whole reply: tokens, cost, which models were"
        " tried.",
    ),
    Command(
        "model embed",
        "Turn texts into vectors: a line of numbers for each.",
        "models:embed",
        arguments=(("TEXT...", "the texts, each one an argument; - reads the lines of stdin"),),
        takes=(1, None),
        options=(
            Option("-m --model", "NAME", "which model, `provider/model` (default: the role's)"),
            Option("--query", "", "they are looked for, not kept: some models tell these apart"),
        ),
        examples=(
            ("holdfast model embed 'red apples' 'green pears'", "two lines, each a JSON array"),
            ("holdfast model embed --json - < lines.txt", "all in one object"),
        ),
        more="The model is that of the role `embedder`; no other stands in for it, for vectors of"
        " two models cannot be compared. It is paid for like every call of a model.",
    ),
)
