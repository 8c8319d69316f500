"""The command that looks at one file of policy; it needs no daemon, for that may not start."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import checked_policy, to_rules
from holdfast.core.error import Invalid

from .out import line
from .stop import OK, REFUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .desk import Desk, Given
    from .wire import Json


def check(desk: Desk, given: Given) -> int:
    path = Path(given.word(0) or Path(desk.home) / "policy.toml").absolute()
    try:
        settings = checked_policy(path)
    except Invalid as refusal:
        problems = str(refusal).splitlines()
        if given.has("json"):
            desk.screen.json({"ok": False, "problems": problems})
        else:
            for problem in problems:
                desk.screen.note(line(problem), mark="bad")
            desk.screen.error(f"{len(problems)} to mend in {path.name}", refusal.hint)
        return REFUSED
    rules, policy = to_rules(settings), settings.policy
    told: Json = {
        "ok": True,
        "version": rules.version,
        "rules": len(policy.rule),
        "ceilings": len(policy.ceiling),
        "preset": policy.preset,
    }
    if given.has("json"):
        desk.screen.json(told)
    else:
        words = f"{len(policy.rule)} rules, {len(policy.ceiling)} ceilings, preset {policy.preset}"
        desk.screen.tell(f"{rules.version}: {words}")
    return OK
