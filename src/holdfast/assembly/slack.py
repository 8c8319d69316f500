"""What Slack's tools get from the house: its vault, its ways out, and who may use them."""

from __future__ import annotations

from holdfast.adapters.tools.output import Spool
from holdfast.adapters.tools.slack.calling import Calls
from holdfast.adapters.tools.slack.kit import OfSlack, slack_tools
from holdfast.adapters.tools.slack.shelf import PLACE
from holdfast.adapters.tools.slack.workspaces import Means, Workspaces
from holdfast.core.ids import TaskId
from holdfast.core.reach import Reach
from holdfast.ports.clock import Clock
from holdfast.ports.egress import Visits

from .given import Given
from .outside import Lent, Outside, gateway


def slack_for(
    given: Given, ways: tuple[Outside, Lent, Visits], work: tuple[Spool, Clock]
) -> OfSlack:
    """Its workspaces, and its tools while one is connected.

    A login, and its renewal, is a person's and of no task: they need no warrant.
    """
    config, (out, lent, visits), (spool, clock) = given.config, ways, work

    def reach() -> Reach:
        task = TaskId(clock.new_id("look"))
        return out.now().reach(task=task, agent=config.agent.name, tool="slack")

    means = Means(
        vault=given.kept.house,
        egress=gateway(Lent(out.safe, clock), visits, clock),
        clock=clock,
        reach=reach,
        api=config.slack.api,
    )
    workspaces = Workspaces(means)
    lent.bearers[PLACE] = workspaces.token
    calls = Calls(workspaces, out.egress, out.of_tool, config.slack.agents)
    return OfSlack(workspaces, slack_tools(calls, spool))
