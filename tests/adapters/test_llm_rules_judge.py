import msgspec
import pytest

from pm_agent.adapters.llm_rules_judge import advice, judgement
from pm_agent.domain.blocker import BlockerType
from pm_agent.ports import BlockerBrief, TaskBrief

BLOCKER = BlockerBrief(
    blocker_id="B-1",
    task_id="T-1",
    title="Wrap lines",
    description="",
    blocker_type="environment",
    severity="medium",
    report="npm: permission denied while writing the cache",
    tried=(),
)
TASK = TaskBrief(
    task_id="T-1",
    title="Rename a flag",
    description="",
    kind="task",
    acceptance_criteria=("It has the new name",),
)


def test_words_of_the_report_come_before_what_usually_helps() -> None:
    given = advice(BLOCKER)
    assert "identity" in given.steps[0]
    assert given.confidence == "medium"
    assert not given.needs_person


@pytest.mark.parametrize(
    ("blocker_type", "report"),
    [("needs_input", "Which colour?"), ("other", "Somebody must approve the licence")],
)
def test_what_only_people_can_do_is_told(blocker_type: BlockerType, report: str) -> None:
    brief = msgspec.structs.replace(BLOCKER, blocker_type=blocker_type, report=report)
    assert advice(brief).needs_person


def test_a_plain_task_is_easy_and_signs_of_size_add_up() -> None:
    assert judgement(TASK).level == 1
    wide = judgement(
        msgspec.structs.replace(
            TASK, description="Refactor the protocol", skills=("go", "sql"), n_dependencies=5
        )
    )
    assert wide.level == 5
    assert len(wide.reasons) == 3
    assert wide.minutes > judgement(TASK).minutes


def test_an_estimate_sets_where_the_count_begins_and_stands() -> None:
    judged = judgement(msgspec.structs.replace(TASK, estimate_min=130))
    assert (judged.level, judged.minutes) == (4, 130)


def test_minutes_follow_from_a_given_complexity() -> None:
    assert judgement(msgspec.structs.replace(TASK, complexity=4)).minutes == 240


def test_risks_come_with_the_worst_first_and_a_way_out() -> None:
    risky = msgspec.structs.replace(
        TASK, description="Migrate the database", acceptance_criteria=(), n_dependants=9
    )
    found = judgement(risky).risks
    assert [risk.kind for risk in found] == ["data", "scope", "dependency"]
    assert all(risk.mitigation for risk in found)
    assert judgement(TASK).risks == ()
