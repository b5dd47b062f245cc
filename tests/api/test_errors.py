import pytest

from pm_agent.api.errors import (
    STATUS,
    FieldError,
    headers_of,
    problem_from,
    problem_of,
    problem_of_fields,
    retry_after_s,
)
from pm_agent.domain.errors import (
    DependencyCycle,
    Fenced,
    Overloaded,
    PMError,
    RateLimited,
    StaleLease,
    Unauthenticated,
    VersionMismatch,
)

EXPECTED = {
    "invalid_input": 422,
    "unknown_dependency": 422,
    "dependency_cycle": 422,
    "malformed_json": 400,
    "too_large": 413,
    "unknown_task": 404,
    "unknown_agent": 404,
    "unknown_project": 404,
    "unknown_blocker": 404,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_assignee": 403,
    "stale_lease": 409,
    "not_assigned": 409,
    "already_exists": 409,
    "already_completed": 409,
    "wrong_state": 409,
    "capacity_exceeded": 409,
    "on_hold": 409,
    "request_id_reused": 409,
    "version_mismatch": 412,
    "unavailable": 503,
    "journal_unavailable": 503,
    "overloaded": 503,
    "fenced": 503,
    "handing_over": 503,
    "rate_limited": 429,
    "method_not_allowed": 405,
    "internal_error": 500,
}


@pytest.mark.parametrize(("code", "status"), EXPECTED.items())
def test_every_code_has_its_status(code: str, status: int) -> None:
    assert STATUS[code] == status


@pytest.mark.parametrize("kind", [DependencyCycle, StaleLease, VersionMismatch])
def test_a_problem_says_what_happened_and_what_to_do_next(kind: type[PMError]) -> None:
    problem = problem_of(kind())
    assert problem.type == f"https://pm-agent.dev/problems/{kind.code}"
    assert problem.detail == kind.__doc__
    assert problem.next_step == kind.default_next_step
    assert problem.title


def test_refusals_that_pass_say_when_to_come_back() -> None:
    problem = problem_from(Fenced(), "get_status")
    assert problem.retry_after_s in (1, 2)
    assert headers_of(problem) == [(b"retry-after", b"%d" % problem.retry_after_s)]
    assert b"www-authenticate" in dict(headers_of(problem_of(Unauthenticated())))
    assert headers_of(problem_from(StaleLease(), "complete_task")) == []


def test_who_asks_too_often_is_told_the_seconds_until_the_next_token() -> None:
    error = RateLimited()
    error.retry_after_s = 0.02
    problem = problem_from(error, "request_next_task", load=2.0)
    assert (problem.status, problem.retry_after_s) == (429, 1)


@pytest.mark.parametrize(
    ("load", "longest_s"), [(0.0, 2), (0.5, 9), (1.0, 16), (2.0, 30), (9.0, 30)]
)
def test_the_fuller_the_server_the_wider_those_it_refuses_are_spread(
    load: float, longest_s: int
) -> None:
    pauses = [retry_after_s(load, n / 1_000) for n in range(1_000)]
    assert min(pauses) == 1
    assert max(pauses) == longest_s
    assert sum(pauses) / 1_000 == pytest.approx(longest_s / 2 + 0.5, abs=0.5)


def test_an_overloaded_server_spreads_the_callers_it_refuses() -> None:
    found = {problem_from(Overloaded(), "get_status", load=2.0).retry_after_s for _ in range(200)}
    assert len(found) > 10
    assert found <= set(range(1, 31))


def test_many_wrong_fields_are_named_up_to_a_limit() -> None:
    problem = problem_of_fields([FieldError(f"f{i}", "bad") for i in range(30)])
    assert len(problem.errors) == 20
    assert problem.detail == "f0: bad; f1: bad; f2: bad (and 27 more)."


def test_a_crash_tells_its_id_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ZeroDivisionError("secret detail")  # noqa: TRY301 - as an operation would
    except ZeroDivisionError as error:
        problem = problem_from(error, "get_status")
    assert problem.status == 500
    assert problem.code == "internal_error"
    assert "secret detail" not in problem.detail
    identifier = problem.detail.rsplit(" ", 1)[1].rstrip(".")
    assert identifier in caplog.text
    assert "secret detail" in caplog.text
