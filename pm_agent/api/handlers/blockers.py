"""What the operations on blockers do."""

from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import blockers as schemas
from pm_agent.domain.blocker import Blocker
from pm_agent.domain.ids import BlockerId
from pm_agent.features.blockers import view as blockers_view
from pm_agent.kernel.fencing import require_project


async def list_blockers(call: Call, given: schemas.ListBlockersInput) -> Answer:
    """Read blockers with what was done about them."""
    if given.project_id is not None:
        require_project(call.world, given.project_id)
    only_open = not given.include_resolved
    found = blockers_view.chosen(call.world, given.project_id, only_open=only_open)
    return call.read(await _shown(call, found))


async def blocker_of(call: Call, blocker_id: BlockerId) -> blockers_view.BlockerItem:
    """One blocker with what was done about it, for who helps with it."""
    shown = await _shown(call, [call.world.blockers[blocker_id]])
    return shown.blockers[0]


async def _shown(call: Call, found: list[Blocker]) -> blockers_view.BlockerList:
    texts = await call.ingress.texts(blockers_view.refs_of(call.world, found))
    return blockers_view.blocker_list(call.world, found, texts, call.ingress.now_us())
