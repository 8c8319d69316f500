"""Policy sees every path a call touches, as it really is."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.gate.policy import Deny, Rule, Say
from holdfast.core.ids import CallId
from holdfast.core.message import EffectClass, ToolCall
from holdfast.engine.describe import described, plain
from holdfast.ports.tools import Traits
from holdfast.testing.engine import ObedientTool
from tests.core.given import judge


class Mover(ObedientTool):
    @property
    def traits(self) -> Traits:
        return Traits(effect=EffectClass.WRITES, paths=("from", "to"))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "work"
    (place / "secret").mkdir(parents=True)
    (place / "door").symlink_to("secret")
    return place


@pytest.mark.parametrize(
    "spelling",
    [
        "secret/key",
        "./secret/key",
        "a/../secret/key",
        "secret//key",
        "door/key",
        "{root}/secret/key",
    ],
)
def test_a_path_is_the_same_however_it_is_spelled(workspace: Path, spelling: str) -> None:
    assert plain(spelling.format(root=workspace), workspace) == "secret/key"


def test_a_path_outside_stays_what_it_is(workspace: Path) -> None:
    assert plain("../other", workspace) == str(workspace.parent / "other")
    assert plain("/etc/passwd", workspace) == "/etc/passwd"
    assert plain("\0", workspace) == "\0"


@pytest.mark.parametrize(
    "arguments",
    [{"from": "secret/key", "to": "open"}, {"from": "open", "to": "door/key"}],
)
def test_a_deny_meets_where_a_thing_comes_from_and_where_it_goes(
    workspace: Path, arguments: dict[str, str]
) -> None:
    rules = ((Rule(say=Say.DENY, target="secret/*"), Rule(say=Say.ALLOW)),)
    call = ToolCall(id=CallId("1"), tool="move", arguments=arguments)
    whole = described(call, CallId("c1"), {"move": Mover(name="move")}, workspace)
    verdict = judge(whole, rules, unattended=False, until=0)
    assert isinstance(verdict, Deny)
