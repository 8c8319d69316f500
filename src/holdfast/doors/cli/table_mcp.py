"""The commands about servers of the Model Context Protocol, and about being one."""

from __future__ import annotations

from .command import Command, Option

_SERVED = (
    Option("--tools", "PATTERN", "offer only these tools: a shell pattern", repeats=True),
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
            Option("--shared", "", "one process for all tasks, in a folder of its own"),
            Option("--private", "", "the url's name may lead to a private address"),
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
        more="Over HTTP it is at /mcp of the daemon. See docs/guides/mcp-server.md.",
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
