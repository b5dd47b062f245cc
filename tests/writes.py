"""Every command that names a lease by its token, found in the catalog of the product.

A new one is here by itself; `command` fails for a required field that it has no value for.
"""

from typing import Any

import msgspec

from pm_agent.catalog import CATALOG
from pm_agent.domain.assignment import AcceptCompletion, CheckLease, RejectCompletion
from pm_agent.domain.envelope import SYSTEM, Command, Principal
from pm_agent.domain.instruction import StoreInstructions
from tests.scenario import request_id

FENCED = tuple(kind for kind in CATALOG.deciders if "lease_token" in kind.__struct_fields__)
# What the coordinator says to itself: an answer that nobody wants any more is no error.
OWN = (CheckLease, StoreInstructions)
# A person's word about work, named by the lease under which it was done.
VERDICTS = (AcceptCompletion, RejectCompletion)
WRITES = tuple(kind for kind in FENCED if kind not in OWN + VERDICTS)  # by who holds the lease

GIVEN: dict[str, Any] = {
    "task_id": "T-1",
    "blocker_id": "B-1",
    "effect_id": "E-1",
    "percent": 10,
    "summary": "did it",
    "description": "no credentials",
    "worked": False,
    "decision": "dates are UTC",
    "name": "api",
    "uri": "docs/api.md",
    "need": "how do I mock the clock?",
    "to": "A-eve",
    "note": "half done; the parser is next",
    "reasons": ("tests fail",),
    "text": "Do it.",
    "writer": "rules",
}


def command(kind: type[Command], lease_token: int, principal: Principal, **more: Any) -> Command:
    """Make one of them about T-1, as it would be accepted from who holds the lease."""
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    given = {name: value for name, value in GIVEN.items() if name in names}
    if kind in VERDICTS and principal != SYSTEM:
        del given["effect_id"]  # of the gate, of which a person knows nothing
    return kind(
        request_id=request_id(),
        principal=principal,
        **given | {"lease_token": lease_token} | more,
    )
