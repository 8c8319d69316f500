"""The commands about servers of the Model Context Protocol, and about being one."""

from __future__ import annotations

from .command import CHECKING, Command, Option

_SERVED = (
    Option("--tools", "PATTERN", "offer these tools: a shell pattern", repeats=True),
    Option("--workspace", "DIR", "where tasks work that name no folder themselves"),
)
_NAME = ("NAME", "the server's name, like git")

MCP = (
    Command(
        "mcp list",
        "List the servers whose tools agents may use, and how each stands.",
        "mcp:mcp_list",
        examples=(("holdfast mcp list", "what is trusted, and what has changed"),),
        more="Only the tools of a trusted server are offered. See docs/guides/mcp.md.",
    ),
    Command(
        "mcp add",
        "Add a server: a command that runs in a box, or an address.",
        "mcp:mcp_add",
        arguments=(_NAME, ("[COMMAND…]", "after `--`: the program and its arguments")),
        takes=(1, None),
        options=(
            Option("--url", "URL", "where it is, instead of a command (streamable HTTP)"),
            Option("--header", "NAME=VALUE", "sent to the url; $SECRET{name} in it", repeats=True),
            Option("--env", "NAME=VALUE", "a variable of the command", repeats=True),
            Option("--reveal", "SECRET", "a secret that the command may see", repeats=True),
            Option("--agent", "NAME", "who may use it: a shell pattern (all)", repeats=True),
            Option("--tool", "NAME", "which tools: a shell pattern (all)", repeats=True),
            Option("--reads", "TOOL", "these only read: a shell pattern", repeats=True),
            Option("--repeatable", "TOOL", "these may be run twice", repeats=True),
            Option("--read-only", "PATH", "a path that its box shows besides", repeats=True),
            Option("--timeout", "SECONDS", "the longest one call may take (60)", kind="number"),
            Option("--ask-seconds", "SECONDS", "how long it may wait for you (0)", kind="number"),
            Option("--sampling", "WHEN", "may it ask your model: never, ask, always (never)"),
            Option("--client-id", "ID", "what you are to those who issue its logins"),
            Option("--client-secret", "SECRET", "the name of the secret that proves it"),
            Option("--own-login", "", "the house logs in by itself (client credentials)"),
            Option("--shared", "", "one process for all tasks, in a folder of its own"),
            Option("--private", "", "the url's name may lead to a private address"),
            Option("--handshake", "", "speak a revision up to 2025-11-25 with it, not the newest"),
            Option("--yes", "", "agree to what it offers without being asked"),
        ),
        examples=(
            (
                "holdfast mcp add git --read-only /opt/mcp -- /opt/mcp/bin/mcp-server-git",
                "it works in each task's folder, and sees /opt/mcp besides",
            ),
            (
                "holdfast mcp add tickets --url https://mcp.example.com/mcp"
                " --header 'Authorization=Bearer $SECRET{tickets}'",
                "the key is put in on the way out",
            ),
        ),
        more="Shows what it offers and asks. Without a yes it is kept, and not used: `mcp trust`.",
    ),
    Command(
        "mcp test",
        "Connect to a server, list its tools, and say how long that took.",
        "mcp:mcp_test",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast mcp test git", "does it come up?"),),
    ),
    Command(
        "mcp tools",
        "List the tools of a server that were agreed to.",
        "mcp:mcp_tools",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast mcp tools git --json", "with their descriptions"),),
    ),
    Command(
        "mcp trust",
        "Show what a server offers, or how it has changed, and agree to it.",
        "mcp:mcp_trust",
        arguments=(_NAME,),
        takes=(1, 1),
        options=(Option("--yes", "", "agree without being asked"),),
        examples=(("holdfast mcp trust git", "shows the difference and asks"),),
        more="What was agreed to is written into mcp.lock.json of the home.",
    ),
    Command(
        "mcp remove",
        "Forget a server that was added, and what was agreed to.",
        "mcp:mcp_remove",
        arguments=(_NAME,),
        takes=(1, 1),
        examples=(("holdfast mcp remove git", "its tools are gone at once"),),
    ),
    Command(
        "mcp import",
        "Add the servers of another program's file.",
        "mcp_import:mcp_import",
        arguments=(
            (
                "[FILE]",
                ".mcp.json here, or else ~/.config/mcp/servers.json",
            ),
        ),
        takes=(0, 1),
        options=(
            Option("--only", "NAME", "this one of them", repeats=True),
            Option("--agent", "NAME", "who may use them: a shell pattern (all)", repeats=True),
            Option("--read-only", "PATH", "a path that their boxes show besides", repeats=True),
        ),
        examples=(
            ("holdfast mcp import", "those of .mcp.json in this folder"),
            (
                "holdfast mcp import ~/.config/Claude/claude_desktop_config.json --only github",
                "one of Claude Desktop's",
            ),
        ),
        more="Keys in it are put into the vault. Nothing is offered before `mcp trust`.",
        exits=CHECKING,
    ),
    Command(
        "mcp login",
        "Log in to a server, in a browser.",
        "mcp_login:mcp_login",
        arguments=(_NAME,),
        takes=(1, 1),
        options=(
            Option("--no-browser", "", "show the address, and open nothing"),
            Option("--paste", "", "read the address that the browser ended at from stdin"),
            Option("--port", "PORT", "where the browser comes back to here (any)", kind="count"),
        ),
        examples=(
            ("holdfast mcp login tickets", "opens a browser and waits for it"),
            ("holdfast mcp login tickets --no-browser", "for a browser on another machine"),
        ),
        more="The tokens are sealed in the vault and put in on the way out; no agent sees them.",
    ),
    Command(
        "mcp logout",
        "Forget the login to a server.",
        "mcp_login:mcp_logout",
        arguments=(_NAME,),
        takes=(1, 1),
        options=(Option("--local-only", "", "do not ask its issuer to take the login back"),),
        examples=(("holdfast mcp logout tickets", "its issuer is told as well"),),
    ),
    Command(
        "mcp status",
        "Show how the house is logged in to servers.",
        "mcp_login:mcp_status",
        arguments=(("[NAME]", "one of them"),),
        takes=(0, 1),
        examples=(("holdfast mcp status", "who is logged in where, and until when"),),
    ),
    Command(
        "mcp log",
        "Show what a server said lately without being asked.",
        "mcp:mcp_log",
        arguments=(("NAME", "which one"),),
        takes=(1, 1),
        examples=(("holdfast mcp log tickets", "its remarks, and which resources changed"),),
        more="The last 200 remarks since the daemon started; a stranger's words.",
    ),
    Command(
        "mcp questions",
        "Show what servers ask you, and wait for.",
        "mcp_questions:mcp_questions",
        examples=(("holdfast mcp questions", "with the fields of each form"),),
        more="Only a server with ask_seconds may ask; a call waits for that long at most.",
    ),
    Command(
        "mcp answer",
        "Answer what a server asks.",
        "mcp_questions:mcp_answer",
        arguments=(("QUESTION", "its id, from `mcp questions`"),),
        takes=(1, 1),
        options=(
            Option("--set", "NAME=VALUE", "a field; the rest has its default", repeats=True),
            Option("--no", "", "say no"),
        ),
        examples=(("holdfast mcp answer ask_01 --set name=Ada", "the other fields as they are"),),
        more="What you type goes to the server: never a password.",
    ),
    Command(
        "mcp resources",
        "List what can be read from a server, or read one of it.",
        "mcp_library:mcp_resources",
        arguments=(_NAME, ("[URI]", "which one to read")),
        takes=(1, 2),
        examples=(
            ("holdfast mcp resources docs", "what there is"),
            ("holdfast mcp resources docs docs://guide", "one of them"),
        ),
    ),
    Command(
        "mcp prompts",
        "List the prompts that a server has for you, or fill one in.",
        "mcp_library:mcp_prompts",
        arguments=(_NAME, ("[PROMPT]", "which one to fill in")),
        takes=(1, 2),
        options=(Option("--set", "NAME=VALUE", "what is filled in", repeats=True),),
        examples=(
            ("holdfast mcp prompts docs review --set file=a.py", "then give it to `holdfast run`"),
        ),
    ),
    Command(
        "mcp serve",
        "Be a server of tools, on stdin and stdout, for a program that starts it.",
        "mcp_serve:mcp_serve",
        options=_SERVED,
        examples=(
            ("holdfast mcp serve", "what Claude Desktop, Cursor and others start"),
            (
                "holdfast mcp serve --tools '*_task*' --workspace ~/project",
                "tasks only: nobody approves from there",
            ),
        ),
        more="Over HTTP it is at /mcp of the daemon. A pattern that names none of its own tools"
        " names those of your agents, like 'slack_*'. See docs/guides/mcp-server.md.",
    ),
    Command(
        "mcp config",
        "Print what a client needs to start `holdfast mcp serve`.",
        "mcp_serve:mcp_config",
        arguments=(("CLIENT", "claude-desktop, claude-code, cursor, vscode, windsurf or zed"),),
        takes=(1, 1),
        options=_SERVED,
        examples=(("holdfast mcp config claude-desktop", "JSON for its configuration"),),
    ),
)
