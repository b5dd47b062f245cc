"""What the operations on projects do."""

import msgspec

from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import projects as schemas
from pm_agent.domain.project import UpdateProject
from pm_agent.features.backlog import status as backlog_status
from pm_agent.features.backlog.decide import ProjectResult


async def project_status(call: Call, given: schemas.ProjectStatusInput) -> Answer:
    """Read where a project stands."""
    texts = await call.ingress.texts(backlog_status.project_refs(call.world, given.project_id))
    holders = backlog_status.project_holders(call.world, given.project_id)
    signs = await call.ingress.signs(holders)
    status = backlog_status.project_status(call.world, given.project_id, texts, signs)
    return call.read(status, status.version)


async def update_project(call: Call, given: schemas.UpdateProjectInput) -> Answer:
    """Change a project; the answer carries the new version of its settings."""
    reply = await call.submit(call.command(UpdateProject, given))
    return call.reply(reply, version=msgspec.json.decode(reply.result, type=ProjectResult).version)


async def list_projects(call: Call, given: schemas.ListProjectsInput) -> Answer:
    """Read all projects that the key or token is for."""
    listed = backlog_status.list_projects(call.world)
    mine = call.grant.project_ids
    if mine:
        shown = [one for one in listed.projects if one.project_id in mine]
        listed = msgspec.structs.replace(listed, projects=shown)
    return call.read(listed)
