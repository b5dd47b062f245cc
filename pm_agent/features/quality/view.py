"""What a gate is told about the work it judges."""

from pm_agent.domain.task import Candidate, Submission
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect
from pm_agent.ports import GateRequest


def gate_request(world: World, effect: Effect) -> GateRequest | None:
    """Describe work to the gate; only ids, commit, branch and links. None: it is kept no more."""
    task = world.tasks[effect.task_id]
    submission = task.submission
    work: Submission | Candidate | None = submission
    if submission is None or submission.lease_token != effect.lease_token:
        work = next((c for c in task.candidates if c.lease_token == effect.lease_token), None)
    if work is None:
        return None
    # Each attempt has one lease, and each lease of a task is an attempt at it.
    attempt = task.attempt - (task.lease_token - effect.lease_token)
    return GateRequest(
        effect_id=effect.effect_id,
        task_id=task.id,
        attempt=attempt,
        lease_token=effect.lease_token,
        agent_id=work.agent_id,
        commit=work.evidence.commit,
        branch=work.evidence.branch,
        links=work.evidence.links,
    )
