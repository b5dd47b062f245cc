"""What a gate is told about the work it judges."""

from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect
from pm_agent.ports import GateRequest


def gate_request(world: World, effect: Effect) -> GateRequest:
    """Describe submitted work to the gate; only ids, commit, branch and links."""
    task = world.tasks[effect.task_id]
    submission = task.submission
    assert submission is not None, effect
    return GateRequest(
        effect_id=effect.effect_id,
        task_id=task.id,
        attempt=task.attempt,
        lease_token=effect.lease_token,
        agent_id=submission.agent_id,
        commit=submission.evidence.commit,
        branch=submission.evidence.branch,
        links=submission.evidence.links,
    )
