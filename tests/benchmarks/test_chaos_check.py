"""The checker finds each kind of broken promise that is planted, and nothing where all was kept."""

import json
from itertools import count

import pytest

from benchmarks.chaos_check import Fact, Truth, check
from benchmarks.chaos_clients import read_reply
from benchmarks.chaos_history import Kind, Line, Memory, remember
from benchmarks.load_generator import Reply

KEPT = Truth(
    [
        Fact("created", "T-1", cause="r-0", epoch=1),
        Fact("assigned", "T-1", "A-1", 1, "r-1", 1),
        Fact("reported", "T-1", "A-1", 1, "r-2", 1),
        Fact("submitted", "T-1", "A-1", 1, "r-3", 2),
        Fact("accepted", "T-1", "A-1", 1, "r-3", 2),
    ]
)


class Client:
    """Writes a history, one second between its lines."""

    def __init__(self, name: str = "A-1") -> None:
        self.name = name
        self.lines: list[Line] = []
        self._seconds = count()

    def did(
        self,
        kind: Kind,
        request_id: str,
        task_id: str = "T-1",
        token: int = 1,
        *,
        status: int = 200,
        attempt: int = 1,
        until_s: float = 1_000.0,
        answer: str = "",
    ) -> "Client":
        self.sent(kind, request_id, task_id, token, attempt=attempt)
        self.lines.append(
            Line(
                next(self._seconds),
                "got",
                request_id,
                self.name,
                kind,
                attempt,
                task_id=task_id,
                lease_token=token,
                lease_until_s=until_s,
                status=status,
                code="" if status == 200 else "stale_lease",
                answer=answer or f"{kind} {task_id} {token}",
            )
        )
        return self

    def sent(
        self, kind: Kind, request_id: str, task_id: str = "", token: int = 0, *, attempt: int = 1
    ) -> "Client":
        self.lines.append(
            Line(
                next(self._seconds),
                "sent",
                request_id,
                self.name,
                kind,
                attempt,
                task_id=task_id,
                lease_token=token,
            )
        )
        return self


@pytest.fixture
def client() -> Client:
    """A client whose whole lifecycle was kept."""
    lived = Client().did("claim", "r-1").did("progress", "r-2").did("complete", "r-3")
    return lived.did("claim", "r-1", attempt=2)


def found(truth: Truth, *clients: Client) -> dict[str, int]:
    verdict = check({c.name: c.lines for c in clients}, truth)
    zero = {"lost": verdict.acked_lost, "double": verdict.double_assignments}
    return {name: n for name, n in {**verdict.violations, **zero}.items() if n}


def without(truth: Truth, *kinds: str) -> Truth:
    return truth._replace(facts=[f for f in truth.facts if f.kind not in kinds])


def with_more(truth: Truth, *facts: Fact) -> Truth:
    return truth._replace(facts=[*truth.facts, *facts])


def test_what_was_kept_is_no_violation(client: Client) -> None:
    assert found(KEPT, client) == {}


def test_an_acknowledged_claim_or_report_that_is_nowhere_is_lost(client: Client) -> None:
    assert found(without(KEPT, "reported"), client) == {"lost": 1}
    facts = [fact._replace(agent_id="A-2") for fact in KEPT.facts]
    assert found(Truth(facts), client)["lost"] == 1


def test_a_request_without_an_answer_may_be_kept_or_not() -> None:
    client = Client().did("claim", "r-1").sent("progress", "r-2", "T-1", 1)
    client.did("complete", "r-3")
    assert found(KEPT, client) == {}
    assert found(without(KEPT, "reported"), client) == {}


def test_two_agents_with_one_task_are_a_double(client: Client) -> None:
    other = Client("A-2").did("claim", "r-9", token=2)
    given = Fact("assigned", "T-1", "A-2", 2, "r-9", 1)
    truth = Truth([*KEPT.facts[:2], given, *KEPT.facts[2:]])
    told = found(truth, client, other)
    assert told["double"] == 1
    assert told["overlap"] == 1


def test_an_effect_that_came_twice_by_one_request_is_found(client: Client) -> None:
    again = Fact("reported", "T-1", "A-1", 1, "r-2", 1)
    truth = Truth([*KEPT.facts[:3], again, *KEPT.facts[3:]])
    assert found(truth, client) == {"double_effect": 1}


def test_one_request_that_took_two_tasks_is_found(client: Client) -> None:
    more = (
        Fact("created", "T-2", epoch=2),
        Fact("assigned", "T-2", "A-1", 1, "r-1", 2),
        Fact("given_back", "T-2", "A-1", 1, "r-8", 2),
    )
    assert found(with_more(KEPT, *more), client) == {"double_effect": 1}


def test_a_good_token_that_was_refused_is_found(client: Client) -> None:
    client.did("progress", "r-5", status=401)
    client.did("progress", "r-5", attempt=2)
    truth = with_more(KEPT, Fact("reported", "T-1", "A-1", 1, "r-5", 2))
    assert found(truth, client)["token_refused"] == 1


def test_two_answers_to_one_request_are_found(client: Client) -> None:
    client.did("claim", "r-1", "T-7", 4, attempt=3)
    assert found(KEPT, client) == {"other_reply": 1}


def test_a_task_accepted_twice_is_found(client: Client) -> None:
    assert found(with_more(KEPT, Fact("accepted", "T-1", "A-1", 1, "r-7", 2)), client) == {
        "accepted_twice": 1
    }


def test_a_done_task_that_is_given_again_is_found_unless_it_was_reopened(client: Client) -> None:
    again = (
        Fact("assigned", "T-1", "A-2", 2, "r-7", 2),
        Fact("given_back", "T-1", "A-2", 2, "r-8", 2),
    )
    assert found(with_more(KEPT, *again), client) == {"reopened": 1}
    reopened = Fact("reopened", "T-1", cause="r-6", epoch=2)
    assert found(with_more(KEPT, reopened, *again), client) == {}


def test_a_write_under_a_lease_that_passed_on_is_found(client: Client) -> None:
    lost = Fact("expired", "T-1", "A-1", 1, "alarm", 1)
    truth = Truth([*KEPT.facts[:2], lost, *KEPT.facts[2:]])
    assert found(truth, client) == {"stale_write": 2}


def test_a_lease_that_another_agents_late_work_ended_is_found(client: Client) -> None:
    other = Client("A-2").did("complete", "r-7", token=1)
    taken = (
        *KEPT.facts[:3],
        Fact("given_back", "T-1", "A-1", 1, "r-7", 2),
        Fact("assigned", "T-1", "A-2", 2, "r-7", 2),
        Fact("submitted", "T-1", "A-2", 2, "r-7", 2),
        Fact("accepted", "T-1", "A-2", 2, "r-7", 2),
    )
    held = Client().did("claim", "r-1").did("progress", "r-2")
    assert found(Truth([*taken]), held, other) == {"taken_away": 1, "double": 1}


def test_a_writer_that_came_back_after_its_successor_is_found(client: Client) -> None:
    late = Fact("created", "T-2", cause="r-7", epoch=1)
    assert found(with_more(KEPT, late), client) == {"epoch_went_back": 1}


def test_a_task_held_by_nobody_who_lives_is_stranded() -> None:
    truth = Truth(KEPT.facts[:2])
    assert found(truth, Client().did("claim", "r-1")) == {"stranded": 1}


def test_a_task_that_is_in_no_queue_is_stranded() -> None:
    waiting = Truth([Fact("created", "T-1", cause="r-0")], frozenset({"T-1"}))
    creator = Client("admin").did("create", "r-0")
    assert found(waiting, creator) == {}
    assert found(waiting._replace(queued=frozenset()), creator) == {"stranded": 1}


# -- what a client remembers ----------------------------------------------------------------------


def test_a_killed_client_goes_on_with_the_request_it_had_sent() -> None:
    client = Client().did("claim", "r-1").sent("progress", "r-2", "T-1", 1)
    memory = remember(client.lines)
    assert memory.held == ("T-1", 1)
    assert memory.pending is not None
    assert memory.pending.request_id == "r-2"


def test_a_client_forgets_a_task_that_it_handed_in_or_was_refused(client: Client) -> None:
    assert remember(client.lines[:6]) == Memory(is_reported=True)
    refused = Client().did("claim", "r-1").did("progress", "r-2", status=409)
    assert remember(refused.lines).held is None


def test_a_busy_answer_leaves_a_request_pending() -> None:
    client = Client().did("claim", "r-1", status=503)
    memory = remember(client.lines)
    assert memory.pending is not None
    assert memory.held is None


def told(status: int, **body: object) -> Line:
    """What a client writes down of a reply."""
    asked = Line(1.0, "sent", "r-1", "A-ada", "wait")
    return read_reply(asked, Reply(status, json.dumps(body).encode()))


def test_a_task_that_must_be_confirmed_is_surely_held_until_then_only() -> None:
    grant = {"outcome": "assigned", "task_id": "T-1", "lease_token": 2}
    sooner, later = "1970-01-01T00:00:04Z", "1970-01-01T00:00:08Z"
    assert told(200, **grant, lease_until=later).lease_until_s == 8.0
    assert told(200, **grant, lease_until=later, confirm_by=sooner).lease_until_s == 4.0
    assert told(200, **grant, lease_until=sooner, confirm_by=later).lease_until_s == 4.0


def test_a_refusal_by_another_server_is_no_answer() -> None:
    assert not told(401, code="unauthenticated").is_final
    assert told(409, code="stale_lease").is_final
