"""All methods, one per operation."""

from pm_agent.client.access import AccessOperations
from pm_agent.client.agents import AgentOperations
from pm_agent.client.assignments import AssignmentOperations
from pm_agent.client.blockers import BlockerOperations
from pm_agent.client.messages import MessageOperations
from pm_agent.client.projects import ProjectOperations
from pm_agent.client.tasks import TaskOperations


class Operations(
    AgentOperations,
    AssignmentOperations,
    BlockerOperations,
    MessageOperations,
    TaskOperations,
    ProjectOperations,
    AccessOperations,
):
    """Every operation as a method."""
