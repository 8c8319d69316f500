"""What may be reached, from the configuration."""

from __future__ import annotations

from holdfast.core.reach import Allowed, Reach, Way, Ways

from .sections import Settings


def to_ways(config: Settings) -> Ways:
    """Who may reach what, and how much."""
    egress = config.egress
    usual = Reach(
        task="",
        agent="",
        web=egress.web,
        methods=egress.methods,
        private=egress.private,
        intercept=egress.intercept,
        requests=egress.requests,
        bytes=egress.max_mb << 20,
    )
    ways = [
        Way(
            allowed=Allowed(
                host=row.host,
                port=row.port,
                methods=row.methods,
                path=row.path,
                headers=row.headers,
            ),
            agents=row.agents,
            tools=row.tools,
            boxes=row.boxes,
        )
        for row in egress.allow
    ]
    return Ways(all=tuple(ways), usual=usual)
