"""What the operations on projects do."""

import msgspec

from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import projects as schemas
from pm_agent.features.backlog import status as backlog_status


async def project_status(call: Call, given: schemas.ProjectStatusInput) -> Answer:
    """Read where a project stands."""
    texts = await call.ingress.texts(backlog_status.project_refs(call.world, given.project_id))
    holders = backlog_status.project_holders(call.world, given.project_id)
    signs = await call.ingress.signs(holders)
    return call.read(backlog_status.project_status(call.world, given.project_id, texts, signs))


async def list_projects(call: Call, given: schemas.ListProjectsInput) -> Answer:
    """Read all projects that the key or token is for."""
    listed = backlog_status.list_projects(call.world)
    mine = call.grant.project_ids
    if mine:
        shown = [one for one in listed.projects if one.project_id in mine]
        listed = msgspec.structs.replace(listed, projects=shown)
    return call.read(listed)
