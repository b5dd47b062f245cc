"""README tells today's truth where a table of the code can say what that is."""

import re
from pathlib import Path

from pm_agent.api.operations import OPERATIONS
from pm_agent.domain.access import least_role

README = Path(__file__).parents[1] / "README.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) `(/\S*)` \| (\w+) \| (\w*)", re.MULTILINE)


def test_the_readme_lists_every_operation_with_its_address_role_and_tier() -> None:
    told = {name: rest for name, *rest in ROW.findall(README.read_text())}
    known = {
        one.name: [
            one.method,
            one.path.removeprefix("/v1"),
            least_role(one.scope),
            one.tier if one.in_mcp else "",
        ]
        for one in OPERATIONS
    }
    assert told == known
