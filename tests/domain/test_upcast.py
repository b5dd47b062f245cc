"""Old shapes of events are read; what is newer than this version is refused."""

from typing import ClassVar

import msgspec
import pytest

from pm_agent.domain import upcast
from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import JournalTooNew
from pm_agent.domain.project import ProjectCreated
from pm_agent.domain.task import TaskCreated
from pm_agent.domain.upcast import EVENT_TYPES, decode_data, encode_data


class Grown(EventData, frozen=True, kw_only=True, tag="ProjectCreated"):
    """A project event whose shape has changed twice."""

    schema_version: ClassVar[int] = 3
    project_id: str
    title: str  # "name" in versions 1 and 2
    budget_usd: float  # cents in version 1


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(upcast.EVENT_TYPES, "ProjectCreated", Grown)
    monkeypatch.setitem(upcast._DECODERS, "ProjectCreated", msgspec.json.Decoder(Grown))
    monkeypatch.setitem(
        upcast.STEPS,
        ("ProjectCreated", 1),
        lambda raw: {**raw, "budget_usd": raw["cents"] / 100},
    )
    monkeypatch.setitem(
        upcast.STEPS, ("ProjectCreated", 2), lambda raw: {**raw, "title": raw["name"]}
    )


def payload(**fields: object) -> bytes:
    return msgspec.json.encode({"type": "ProjectCreated", "project_id": "P-web", **fields})


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(
    ("version", "fields"),
    [
        (1, {"name": "web", "cents": 250}),
        (2, {"name": "web", "budget_usd": 2.5}),
        (3, {"title": "web", "budget_usd": 2.5}),
    ],
)
def test_every_old_shape_becomes_the_present_one(version: int, fields: dict[str, object]) -> None:
    expected = Grown(project_id="P-web", title="web", budget_usd=2.5)
    assert decode_data("ProjectCreated", version, payload(**fields)) == expected


def test_an_unknown_event_means_a_newer_journal() -> None:
    with pytest.raises(JournalTooNew) as refused:
        decode_data("TaskTeleported", 1, b"{}")
    assert refused.value.code == "journal_too_new"


def test_a_newer_shape_means_a_newer_journal() -> None:
    with pytest.raises(JournalTooNew):
        decode_data("ProjectCreated", 2, payload(name="web"))


def test_fields_at_their_default_are_left_out_and_come_back() -> None:
    data = TaskCreated(task_id="T-1", number=1, project_id="P-web", title="t")
    assert b"priority" not in encode_data(data)
    assert decode_data("TaskCreated", 1, encode_data(data)) == data


def test_an_event_keeps_its_name_in_its_data() -> None:
    data = ProjectCreated(project_id="P-web", name="web")
    assert msgspec.json.decode(encode_data(data))["type"] == "ProjectCreated"
    assert all(kind.__name__ == name for name, kind in EVENT_TYPES.items())
