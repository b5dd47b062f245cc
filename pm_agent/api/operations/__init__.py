"""THE table: everything that can be asked of PM Agent, once.

HTTP and MCP are renderers of it, and tools are shown in its order. To add an operation, add its
input to ``schemas`` and a row to the file of its noun here, with a handler if one command and its
reply are not enough.
"""

from pm_agent.api.operations.access import ACCESS
from pm_agent.api.operations.agents import AGENTS
from pm_agent.api.operations.assignments import ASSIGNMENTS
from pm_agent.api.operations.blockers import BLOCKERS
from pm_agent.api.operations.collaborations import COLLABORATIONS
from pm_agent.api.operations.holds import HOLDS
from pm_agent.api.operations.messages import MESSAGES
from pm_agent.api.operations.projects import PROJECTS
from pm_agent.api.operations.row import Operation, Tier
from pm_agent.api.operations.subscriptions import SUBSCRIPTIONS
from pm_agent.api.operations.tasks import TASKS
from pm_agent.api.operations.workspace import WORKSPACE

__all__ = ["BY_NAME", "OPERATIONS", "Operation", "Tier"]

OPERATIONS: tuple[Operation, ...] = (
    *AGENTS,
    *ASSIGNMENTS,
    *BLOCKERS,
    *TASKS,
    *MESSAGES,
    *COLLABORATIONS,
    *SUBSCRIPTIONS,
    *PROJECTS,
    *HOLDS,
    *ACCESS,
    *WORKSPACE,
)

BY_NAME: dict[str, Operation] = {operation.name: operation for operation in OPERATIONS}
