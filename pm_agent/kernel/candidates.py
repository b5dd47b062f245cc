"""Which agents could do something, best first: for whoever has to choose one to ask."""

from collections.abc import Container

from pm_agent.domain.agent import Agent
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.signature import levels_of, may_take
from pm_agent.domain.task import Skill, Task
from pm_agent.domain.time import MINUTE_US
from pm_agent.domain.track_record import NO_RECORD
from pm_agent.domain.world import World
from pm_agent.kernel.types import Context

# As long as an agent that only makes requests may be silent: who said nothing for longer would
# hardly answer.
HEARD_US = 20 * MINUTE_US


def is_able(agent: Agent, project_id: ProjectId, skills: tuple[Skill, ...]) -> bool:
    """Whether an agent of the team has these skills and works on the project."""
    levels = levels_of(agent.signature)
    return not agent.left_at_us and may_take(levels, agent.project_ids, (project_id, skills))


def best_agents(
    world: World,
    context: Context,
    task: Task,
    skills: tuple[Skill, ...],
    without: Container[AgentId] = (),
) -> list[AgentId]:
    """Agents that could help with a task, best first.

    Those heard lately come first, then those with the better track record at this kind of task,
    then those with room for work. Agents on hold are not asked.
    """

    def rank(agent: Agent) -> tuple[bool, float, bool, int]:
        record = world.track_records.get(agent.id, {}).get(task.kind, NO_RECORD)
        is_away = context.presence.heard_at(agent.id) < context.now_us - HEARD_US
        is_full = len(agent.active) >= agent.capacity
        return is_away, -record.success, is_full, world.agent_numbers[agent.id]

    able = [
        agent
        for agent in world.agents.values()
        if agent.id not in without and not agent.holds and is_able(agent, task.project_id, skills)
    ]
    return [agent.id for agent in sorted(able, key=rank)]
