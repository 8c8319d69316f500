"""The commands about the daemon itself."""

from __future__ import annotations

from .command import CHECKING, Command, Option

SERVE = (
    Command(
        "serve",
        "Run the daemon here, or in the background.",
        "serving:serve",
        options=(Option("-d --detach", "", "in the background; returns when it is ready"),),
        examples=(("holdfast serve --detach", "as every command does by itself when needed"),),
    ),
    Command(
        "serve stop",
        "Stop the daemon; what is under way goes on at the next start.",
        "serving:stop",
        options=(Option("--seconds", "N", "how long to wait for it (default: 30)", kind="count"),),
        examples=(("holdfast serve stop", "nothing is lost"),),
    ),
    Command(
        "serve restart",
        "Stop the daemon and start it again.",
        "serving:restart",
        options=(Option("--seconds", "N", "how long to wait for it (default: 30)", kind="count"),),
        examples=(("holdfast serve restart", "after a change of config.toml"),),
    ),
    Command(
        "serve status",
        "Say whether the daemon runs; never starts it.",
        "serving:serve_status",
        exits=CHECKING,
        examples=(("holdfast serve status", "exit 1 when it does not run"),),
    ),
    Command(
        "serve cert",
        "Show the certificate that others see over TLS; made where there is none.",
        "serving:certificate",
        options=(Option("--renew", "", "make a new one"),),
        examples=(("holdfast serve cert", "its file, for --cacert, and its fingerprint"),),
        more="`server.tls` says whether it is used. See docs/guides/http.md.",
    ),
    Command(
        "serve logs",
        "Show the daemon's log.",
        "serving:logs",
        options=(
            Option("-n --lines", "N", "how many lines (default: 50)", kind="count"),
            Option("-f --follow", "", "go on with what is written, until Ctrl-C"),
        ),
        examples=(("holdfast serve logs -f", "watch it"),),
    ),
)
