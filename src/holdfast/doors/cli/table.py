"""Every command, once: parsing, help, the reference page and completion come from here."""

from __future__ import annotations

from .command import CHECKING, Command, Option
from .table_audit import AUDIT
from .table_editors import EDITORS
from .table_keys import KEYS
from .table_mcp import MCP
from .table_models import MODELS
from .table_peers import PEERS
from .table_policy import LEASE, POLICY
from .table_secrets import SECRETS
from .table_serve import SERVE
from .table_slack import SLACK
from .table_trust import TRUST
from .table_undo import UNDO
from .table_webhooks import WEBHOOKS

_MOST = Option("-n --limit", "N", "how many to show", kind="count")
_REF = ("TASK", "the task's id, or 4 or more characters that it begins or ends with")

_LIMITS = (
    Option("--budget", "USD", "the most money the task may spend", kind="number"),
    Option("--steps", "N", "the most model turns", kind="count"),
    Option("--tokens", "N", "the most tokens, in and out", kind="count"),
    Option("--seconds", "N", "the most time at work", kind="count"),
)

_SHOW_THINKING = Option(
    "--show-thinking", "WHEN", "show what the model thought: never, on_error or always"
)

_ASKING = (
    Option("-m --model", "NAME", "which model works on it, `provider/model`; ? lets you choose"),
    Option("--allow", "SPEC", "allow `tool` or `tool:pattern` without asking", repeats=True),
    Option("--deny", "SPEC", "deny `tool` or `tool:pattern`, whatever else says", repeats=True),
    Option("--preset", "NAME", "the policy below these: reader, coder, researcher, ..."),
    Option("--yes", "", "allow everything in the box, the same as --allow '*'"),
    *_LIMITS,
    Option("-C --workspace", "DIR", "the folder it works on (default: the current one)"),
    Option("--thinking", "LEVEL", "how much the model thinks: off, low, medium or high"),
    _SHOW_THINKING,
)

_RUN = (
    Option("--stdin", "", "read the task from stdin"),
    Option("-f --file", "PATH", "add a file: its text up to 256 KiB, else its name", repeats=True),
    Option("--attach", "PATH", "show the model an image, a PDF or a sound", repeats=True),
    *_ASKING,
    Option("--check", "COMMAND", "must exit 0 before the task counts as done", repeats=True),
    Option("--until", "WORD", "the answer must contain this word"),
    Option("--schema", "FILE", "the answer must be JSON that fits this JSON Schema"),
    Option("--schema-retries", "N", "how often a wrong answer is sent back (2)", kind="count"),
    Option("--no-strict", "", "take an answer as it is when it still does not fit"),
    Option("--session", "ID", "the conversation it belongs to"),
    Option("--priority", "N", "higher goes first; 10 and above before all others", kind="count"),
    Option("--key", "KEY", "the same key again gives the same task, not a second one"),
    Option("--deliver", "CHANNEL", "where else the result goes", repeats=True),
    Option("--detach", "", "print the task's id and return at once"),
    Option("-q --quiet", "", "no progress on stderr"),
)

_TASKS = (
    Command(
        "run",
        "Give it something to do and wait for the answer.",
        "run:run",
        arguments=(("[TASK...]", "what to do, in plain words"),),
        takes=(0, None),
        options=_RUN,
        exits=CHECKING,
        examples=(
            ("holdfast run count the lines of all Python files", "work on this folder"),
            ("git diff | holdfast run write a commit message", "a pipe is added to the task"),
            ("holdfast run --check 'pytest -q' make the tests pass", "done means checked"),
            ("holdfast run --detach --budget 0.50 tidy up docs", "prints the task's id"),
        ),
        more="The answer goes to stdout and nothing else does; progress goes to stderr. On a"
        " terminal, changing files and executing asks first; without one the policy decides and"
        " says so. Ctrl-C stops the task.",
    ),
    Command(
        "chat",
        "Talk with it: each message is a task, all in one session.",
        "chat:chat",
        options=(
            Option("--session", "ID", "go on with this session, or begin it"),
            Option("--resume", "ID", "go on with a session; `last` is the latest one"),
            *_ASKING,
        ),
        examples=(
            ("holdfast chat", "a new conversation about this folder"),
            ("holdfast chat --resume last", "where you left off"),
        ),
        more="In the conversation, /help lists the commands. An end of input ends it.",
    ),
    Command(
        "task list",
        "List tasks, newest first.",
        "listing:task_list",
        options=(
            _MOST,
            Option("--status", "STATUS", "only these, e.g. FAILED or RUNNING,QUEUED"),
            Option("--session", "ID", "only those of one session"),
            Option("--before", "TASK", "only those older than this one"),
        ),
        examples=(("holdfast task list --status FAILED", "what went wrong lately"),),
    ),
    Command(
        "task show",
        "Show everything about one task.",
        "tasks:show",
        arguments=(_REF,),
        takes=(1, 1),
        options=(Option("--answer", "", "only the answer, exactly as it is"), _SHOW_THINKING),
        exits=CHECKING,
        examples=(("holdfast task show 3f2a91bc --answer > out.md", "the answer into a file"),),
    ),
    Command(
        "task watch",
        "Follow a task until it ends, from the beginning or from where you were.",
        "tasks:watch",
        arguments=(_REF,),
        takes=(1, 1),
        options=(
            Option("--after", "N", "skip events up to this number", kind="count"),
            _SHOW_THINKING,
        ),
        exits=CHECKING,
        examples=(("holdfast task watch 3f2a91bc", "progress on stderr, the answer on stdout"),),
        more="Ctrl-C ends the watching, not the task.",
    ),
    Command(
        "task cancel",
        "Stop a task for good.",
        "tasks:cancel",
        arguments=(_REF,),
        takes=(1, 1),
        options=(Option("--reason", "TEXT", "why, for the record"),),
        examples=(("holdfast task cancel 3f2a91bc", "stops the model, its tools and children"),),
    ),
    *UNDO,
    Command(
        "task retry",
        "Try a failed task again.",
        "tasks:retry",
        arguments=(_REF,),
        takes=(1, 1),
        options=_LIMITS,
        examples=(
            ("holdfast task retry 3f2a91bc", "prints the id of the task that goes on"),
            ("holdfast task retry 3f2a91bc --budget 2", "the same under a higher limit"),
        ),
    ),
    Command(
        "task approve",
        "Say yes to what a task asks.",
        "tasks:approve",
        arguments=(_REF, ("[CALL]", "which call, when it asks more than one thing")),
        takes=(1, 2),
        options=(
            Option("--whole-task", "", "allow this tool for the rest of the task"),
            Option("--vouch", "", "what nobody had said is yours from now on, letter for letter"),
            Option("--for", "WHOM", "do not ask again for such calls: task, session, agent or all"),
            Option("--rule", "RULE", "nor for those that this allows, e.g. 'exec:git push *'"),
            *LEASE,
            Option("--alike", "", "all about the very same call: a read, or at medium trust"),
            Option("--edit", "NAME=VALUE", "no: propose it with this argument", repeats=True),
        ),
        examples=(
            ("holdfast task approve 3f2a91bc", "yes to exactly what `approvals` shows"),
            ("holdfast task approve 3f2a91bc --for session --until 2h", "and to the same again"),
            ("holdfast task approve 3f2a91bc --edit path=b.txt", "not so, but into b.txt"),
        ),
    ),
    Command(
        "task deny",
        "Say no to what a task asks.",
        "tasks:deny",
        arguments=(_REF, ("[CALL]", "which call, when it asks more than one thing")),
        takes=(1, 2),
        options=(Option("--reason", "TEXT", "the model reads it"),),
        examples=(("holdfast task deny 3f2a91bc --reason 'use git mv'", "no, and what instead"),),
    ),
    Command(
        "task say",
        "Add a message to a task at work, or answer its question.",
        "tasks:say",
        arguments=(_REF, ("TEXT...", "what to say")),
        takes=(2, None),
        examples=(("holdfast task say 3f2a91bc leave the tests alone", "steers it"),),
    ),
    Command(
        "task bundle",
        "Write a task's inspectable record into a zip file.",
        "tasks:bundle",
        arguments=(_REF, ("[FILE]", "where to (default: TASK.zip here; - for stdout)")),
        takes=(1, 2),
        examples=(("holdfast task bundle 3f2a91bc", "for a report or an audit"),),
    ),
    Command(
        "task replay",
        "Decide a recorded task anew, without any model, and compare.",
        "tasks:replay",
        arguments=(_REF,),
        takes=(1, 1),
        exits=CHECKING,
        examples=(("holdfast task replay 3f2a91bc", "exit 1 when something came out otherwise"),),
    ),
    Command(
        "task verify",
        "Check a task's chain of events and its summary.",
        "tasks:verify",
        arguments=(_REF,),
        takes=(1, 1),
        exits=CHECKING,
        examples=(("holdfast task verify 3f2a91bc", "exit 1 when the record was tampered with"),),
    ),
    Command(
        "approvals",
        "List what waits for a yes or no.",
        "tasks:approvals",
        examples=(("holdfast approvals", "then `holdfast task approve TASK`"),),
    ),
    Command(
        "session list",
        "List conversations, newest first.",
        "sessions:session_list",
        options=(_MOST,),
        examples=(("holdfast session list -n 5", "the latest five"),),
    ),
    Command(
        "session show",
        "Show one conversation and its tasks.",
        "sessions:session_show",
        arguments=(("SESSION", "the session's id"),),
        takes=(1, 1),
        examples=(("holdfast session show chat-4b2f", "then `holdfast chat --resume` it"),),
    ),
)

_HOUSE = (
    Command(
        "status",
        "Show how the daemon is and what it does.",
        "listing:status",
        options=(
            Option("--live", "", "keep showing, once a second, until Ctrl-C"),
            Option("--costs", "", "what it has used, in tokens and money"),
        ),
        examples=(("holdfast status --live", "watch it work"),),
    ),
    *SERVE,
    Command(
        "init",
        "Make the home: folders, a commented config.toml and a token. Safe to repeat.",
        "housekeeping:init",
        examples=(("holdfast init", "never overwrites anything"),),
    ),
    Command(
        "doctor",
        "Check that everything that is needed works, and say what to do where not.",
        "housekeeping:doctor",
        options=(Option("--fix", "", "close what others may open"),),
        exits=CHECKING,
        examples=(("holdfast doctor", "exit 1 when something fails"),),
    ),
    Command(
        "box list",
        "List the boxes that exist now: whose they are, what they use, how they are.",
        "boxes:listed",
        examples=(("holdfast box list", "idle ones go by themselves"),),
    ),
    Command(
        "box test",
        "Try every known way out of the boxes that commands run in.",
        "housekeeping:box_test",
        options=(
            Option("--box", "KIND", "which kind of box (default: the configured one)"),
            Option("--only", "NAME", "this attack alone", repeats=True),
            Option("--control", "", "without any box too, to see which attacks bite here"),
            Option("--list", "", "the attacks, and what each tries"),
        ),
        exits=CHECKING,
        examples=(
            ("holdfast box test", "about a minute; exit 1 when anything got out"),
            ("holdfast box test --control --json > box.json", "with the proof that they bite"),
        ),
        more="The attacks go for decoys that are made for the test, and change nothing of the host."
        " Nothing of the daemon is touched; it may run or not.",
    ),
    Command(
        "gate bench",
        "Measure how often a model that obeys every attacker gets through the gate.",
        "housekeeping:gate_bench",
        options=(
            Option("--suite", "NAME", "workspace, banking, slack or travel", repeats=True),
            Option("--arm", "NAME", "off, asks, alone, unplanned or rogue", repeats=True),
            Option("--attacks", "N", "at most so many attacks on each task", kind="count"),
            Option("--python", "PATH", "an interpreter that has AgentDojo"),
            Option("--out", "FILE", "every case, as JSON"),
        ),
        exits=CHECKING,
        examples=(("holdfast gate bench --python dojo/bin/python", "exit 1 when one got through"),),
        more="It needs AgentDojo: python3 -m venv dojo && dojo/bin/pip install agentdojo==0.1.35."
        " It has a daemon of its own; yours is not touched.",
    ),
    Command(
        "connect",
        "Connect a provider with a key or a login, or list what is connected.",
        "connecting:connect",
        arguments=(("[PROVIDER]", "which one; nothing lists them, and where each key comes from"),),
        takes=(0, 2),
        options=(
            Option("--stdin", "", "read the key from stdin; it is never an argument"),
            Option("--url", "URL", "a server of your own that speaks as OpenAI does"),
            Option("--model", "NAME", "a model that it has", repeats=True),
            Option("--no-check", "", "do not try the key with one request first"),
        ),
        examples=(
            ("holdfast connect", "who can be asked, and whose credentials count"),
            ("holdfast connect openai", "asks for the key, tries it, saves it"),
            ("pass show openai | holdfast connect openai --stdin", "from a password manager"),
            ("holdfast connect lab --url http://127.0.0.1:8000/v1", "a server of your own"),
        ),
        more="The daemon uses it at once. Keys are kept in the home's vault, for you alone; a key"
        " in the daemon's environment goes before a saved one.",
    ),
    Command(
        "disconnect",
        "Forget a provider's key, login and server.",
        "connecting:disconnect",
        arguments=(("PROVIDER", "which one"),),
        takes=(1, 1),
        options=(Option("--local-only", "", "do not ask the provider to take the login back"),),
        examples=(("holdfast disconnect openai", "safe to repeat"),),
    ),
    Command(
        "budget list",
        "Show how the budgets stand, and which calls may have been paid.",
        "money:budget_list",
        examples=(("holdfast budget list", "what is used, set aside and left"),),
        more="Budgets are set in config.toml: [[budget]] with scope, of, per, usd, tokens, calls.",
    ),
    Command(
        "budget raise",
        "Add to a budget until its day or month ends.",
        "money:budget_raise",
        arguments=(
            ("KEY", "as `budget list` and a refusal name it; price/MODEL allows a model today"),
            ("[USD]", "how much money"),
        ),
        takes=(1, 2),
        options=(
            Option("--tokens", "N", "tokens to add", kind="count"),
            Option("--calls", "N", "calls to add", kind="count"),
        ),
        examples=(
            ("holdfast budget raise agent/default/day 2.50", "for the rest of the day"),
            ("holdfast budget raise price/lab/model-x", "let it be called without a known price"),
        ),
    ),
    Command(
        "budget settle",
        "Say what a call really cost whose answer never came.",
        "money:budget_settle",
        arguments=(("CALL", "its id in `budget list`"), ("USD", "what it cost; 0: nothing")),
        takes=(2, 2),
        examples=(("holdfast budget settle hold_0193 0", "the provider never saw it"),),
    ),
    Command(
        "costs",
        "Show where the money went.",
        "money:costs",
        options=(
            Option("--by", "GROUPS", "day, week, month, agent, team, model, role, task, session"),
            Option("--since", "DAY", "today, week, month or a date (default: this month)"),
            Option("--until", "DAY", "the same; not included"),
            Option("--task", "TASK", "only those of one task"),
            Option("--session", "ID", "only those of one session"),
            Option("--agent", "NAME", "only those of one agent"),
            Option("--team", "NAME", "only those of one team"),
            Option("--role", "NAME", "only those asked as one role, e.g. executor"),
            Option("--csv", "", "comma-separated values"),
        ),
        examples=(
            ("holdfast costs --by model,role --since week", "who used what in seven days"),
            ("holdfast costs --by day --csv > costs.csv", "for a spreadsheet"),
        ),
        more="Money in doubt belongs to calls that were cut off; they count in full until"
        " `budget settle` says better. Days are those of UTC.",
    ),
    Command(
        "egress log",
        "Show who reached what outside, or was refused it.",
        "egress:log",
        options=(
            Option("--task", "TASK", "only those of one task"),
            Option("--agent", "NAME", "only those of one agent"),
            Option("--host", "NAME", "only those to one host"),
            Option("--refused", "", "only what was refused or failed"),
            _MOST,
        ),
        examples=(
            ("holdfast egress log --refused", "what somebody wanted and did not get"),
            ("holdfast egress log --task 0193c2f1 --json", "all that one task reached"),
        ),
        more="Newest first. What may be reached is said in [egress] of config.toml.",
    ),
    Command(
        "backup",
        "Copy the history, and what a restored home needs besides, into one file.",
        "housekeeping:backup",
        arguments=(("[TO]", "the file to write (default: in the home's backups folder)"),),
        takes=(0, 1),
        examples=(("holdfast backup /mnt/usb/holdfast.bak", "prints where it went"),),
        more="The files of configuration, and what is secret (vault, token, tls), are not in it.",
    ),
    Command(
        "restore",
        "Put a backup in place of what is there. The daemon must not run.",
        "housekeeping:restore",
        arguments=(("FROM", "a file that `backup` wrote"),),
        takes=(1, 1),
        examples=(("holdfast serve stop && holdfast restore holdfast.bak", "back to that day"),),
        more="The history that was there is kept. A key or trust taken back since stays so.",
    ),
    Command(
        "purge",
        "Make unreadable for good what one ended task, or a session, said.",
        "housekeeping:purge",
        arguments=(("[TASK]", "which task"),),
        takes=(0, 1),
        options=(
            Option("--session", "ID", "everything of one session instead"),
            Option("--reason", "TEXT", "why, for the record; needed"),
            Option("--yes", "", "do not ask"),
        ),
        exits=CHECKING,
        examples=(("holdfast purge --session chat-4b2f --reason 'asked to' --yes", "no way back"),),
    ),
    Command(
        "demo",
        "See it survive: work with side effects, a kill -9 on stage, nothing lost.",
        "housekeeping:demo",
        arguments=(("[...]", "options of the demonstration; see `holdfast demo --help`"),),
        raw=True,
        examples=(("holdfast demo", "takes a few seconds"),),
    ),
    Command(
        "crashtest",
        "Kill the daemon at every boundary and print the proof.",
        "housekeeping:crashtest",
        arguments=(("[...]", "options of the test; see `holdfast crashtest --help`"),),
        raw=True,
        exits=CHECKING,
        examples=(("holdfast crashtest", "exit 1 when anything was lost or done twice"),),
    ),
    Command(
        "completion",
        "Print a completion script for a shell.",
        "help:completion",
        arguments=(("SHELL", "bash, zsh or fish"),),
        takes=(1, 1),
        examples=(('eval "$(holdfast completion bash)"', "in ~/.bashrc"),),
    ),
    Command(
        "version",
        "Print the version.",
        "listing:version",
        examples=(("holdfast version", "the same as --version"),),
    ),
    Command(
        "help",
        "Explain a command.",
        "help:show",
        arguments=(("[COMMAND...]", "which one"),),
        takes=(0, 2),
        examples=(("holdfast help task list", "the same as `holdfast task list --help`"),),
    ),
)

_TOOLS = (
    Command(
        "tool list",
        "List the tools that agents have, or show one with what it takes.",
        "tools:tool_list",
        arguments=(("[NAME]", "one of them"),),
        takes=(0, 1),
        examples=(("holdfast tool list slack_post_as_me", "what it takes"),),
    ),
    Command(
        "tool use",
        "Use one tool by yourself: judged and written down like an agent's call.",
        "tools:tool_use",
        arguments=(("NAME", "which tool"), ("[KEY=VALUE…]", "what it takes; JSON, or plain text")),
        takes=(1, None),
        options=(
            Option("-C --workspace", "DIR", "the folder it works in (default: the current one)"),
            Option("--key", "KEY", "the same key again is the same use, not a second one"),
            Option("--wait", "SECONDS", "how long to wait for its end (60)", kind="number"),
        ),
        exits=CHECKING,
        examples=(
            ("holdfast tool use list path=src", "what an agent would see"),
            ("holdfast tool use slack_dm_self text='ship it'", "asks you first, as your rules say"),
        ),
        more="It is a task with one call: `task show`, `approvals` and the audit have it.",
    ),
)

GROUPS = (
    ("Work", _TASKS),
    ("Models", MODELS),
    ("Secrets", SECRETS),
    ("Policy", POLICY),
    ("Trust", TRUST),
    ("Servers of tools", MCP),
    ("Agents elsewhere", PEERS),
    ("Tools", _TOOLS),
    ("Slack", SLACK),
    ("Editors", EDITORS),
    ("Keys", KEYS),
    ("Webhooks", WEBHOOKS),
    ("The audit", AUDIT),
    ("The house", _HOUSE),
)
COMMANDS = {command.name: command for _, group in GROUPS for command in group}
_LISTED = (
    *("audit", "box", "budget", "key", "mcp", "model", "peer", "secret", "session", "task"),
    *("tool", "webhook"),
)
DEFAULTS = {
    **{name: f"{name} list" for name in _LISTED},
    "egress": "egress log",
    "models": "model list",
    "policy": "policy show",
    "slack": "slack status",
    "trust": "trust show",
    "vault": "vault status",
}
