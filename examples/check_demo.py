"""Recount a demo from its two traces alone: the journal file and the program's git log.

Uses nothing of PM Agent: SQLite, JSON and git. Prints one JSON object; exits 1 on a contradiction.

    python examples/check_demo.py JOURNAL REPOSITORY
"""

import base64
import json
import sqlite3
import subprocess
import sys
from array import array
from collections import defaultdict
from typing import Any

ENDINGS = {
    "CompletionAccepted",
    "CompletionRejected",
    "TaskReleased",
    "AssignmentExpired",
    "TaskCancelled",
}


def read_events(path: str) -> list[tuple[str, int, dict[str, Any]]]:
    """Kind, instant and data of every event, in order."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT kind, at_us, payload FROM events ORDER BY position")
        return [(kind, at_us, json.loads(payload)) for kind, at_us, payload in rows]


def recount(events: list[tuple[str, int, dict[str, Any]]]) -> dict[str, Any]:
    """Tasks, agents and doubles, by a fold of its own."""
    created: set[str] = set()
    done: dict[str, str] = {}
    holder: dict[str, tuple[str, int]] = {}
    last_token: dict[str, int] = defaultdict(int)
    doubles: list[str] = []
    tally: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    commits: dict[str, str] = {}
    crashes = blockers = 0
    varying: set[str] = set()
    for kind, _, data in events:
        task = data.get("task_id", "")
        if kind == "TaskCreated":
            created.add(task)
        elif kind == "TaskAssigned":
            if task in holder or data["lease_token"] <= last_token[task] or task in done:
                doubles.append(task)
            holder[task] = (data["agent_id"], data["lease_token"])
            last_token[task] = data["lease_token"]
            tally[data["agent_id"]]["assigned"] += 1
            varying |= varying_factors(data["decision"])
        elif kind == "CompletionSubmitted":
            if holder.get(task) != (data["agent_id"], data["lease_token"]):
                doubles.append(task)
            commits[task] = data.get("evidence", {}).get("commit", "")
        elif kind == "BlockerReported":
            blockers += 1
        if kind in ENDINGS:
            owner = holder.pop(task, None)
            if kind == "CompletionAccepted":
                done[task] = data["agent_id"]
                tally[data["agent_id"]]["done"] += 1
            elif owner is not None:
                tally[owner[0]]["lost"] += 1
            if kind == "TaskReleased" and data["reason"] == "failed":
                crashes += 1
    return {
        "tasks": len(created),
        "done": len(done),
        "agents": len(set(done.values())),
        "doubles": len(doubles),
        "failed_attempts": crashes,
        "blockers": blockers,
        "varying_factors": sorted(varying),
        "by_agent": {agent: dict(counts) for agent, counts in sorted(tally.items())},
        "commits": commits,
    }


def varying_factors(decision: dict[str, Any]) -> set[str]:
    """Names of factors that differ between the explained candidates of one decision."""
    packed = array("f", base64.b64decode(decision["factors"]))
    width = len(packed) // len(decision["explained"])
    columns = [packed[column::width] for column in range(width)]
    return {str(number) for number, values in enumerate(columns) if len(set(values)) > 1}


def merged_commits(repository: str) -> set[str]:
    """Every commit on the program's main branch."""
    listed = subprocess.run(
        ["git", "-C", repository, "rev-list", "main"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listed.stdout.split())


def main() -> int:
    """Recount, compare with the repository, print."""
    journal, repository = sys.argv[1:3]
    found = recount(read_events(journal))
    on_main = merged_commits(repository)
    commits = found.pop("commits")
    missing = sorted(t for t, commit in commits.items() if commit and commit not in on_main)
    found["commits_on_main"] = sum(commit in on_main for commit in commits.values())
    found["commits_missing"] = missing
    sys.stdout.write(json.dumps(found) + "\n")
    is_right = found["done"] == found["tasks"] and not found["doubles"] and not missing
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
