from benchmarks.history import Write, WriteKind, count_doubles, seconds_of


def claim(agent_id: str, lease_token: int, at_s: float, until_s: float = 1_000.0) -> Write:
    return Write("T-1", agent_id, lease_token, "claim", at_s, at_s + 0.1, until_s)


def write(
    agent_id: str, lease_token: int, kind: WriteKind, at_s: float, until_s: float = 0.0
) -> Write:
    return Write("T-1", agent_id, lease_token, kind, at_s, at_s + 0.1, until_s)


def test_injected_double_is_found_among_honest_leases() -> None:
    honest = [
        Write(f"T-{i}", f"A-{i % 7}", 1, "claim", float(i), i + 0.1, 1_000.0) for i in range(100)
    ]
    injected = Write("T-42", "A-intruder", 2, "claim", 60.0, 60.1, 1_000.0)
    assert count_doubles(honest) == 0
    assert count_doubles([*honest, injected]) == 1


def test_task_handed_on_after_its_end_is_no_double() -> None:
    writes = [claim("A-1", 1, 0.0), write("A-1", 1, "complete", 5.0), claim("A-2", 2, 5.0)]
    assert count_doubles(writes) == 0


def test_task_handed_on_after_expiry_is_no_double() -> None:
    assert count_doubles([claim("A-1", 1, 0.0, until_s=10.0), claim("A-2", 2, 11.0)]) == 0


def test_late_work_that_is_taken_while_another_holds_the_task_is_a_double() -> None:
    handed_in = write("A-1", 1, "complete", 13.0)
    others = claim("A-2", 2, 11.0, until_s=20.0)
    assert count_doubles([claim("A-1", 1, 0.0, until_s=10.0), others, handed_in]) == 1
    lapsed = write("A-1", 1, "complete", 21.0)
    assert count_doubles([claim("A-1", 1, 0.0, until_s=10.0), others, lapsed]) == 0
    in_doubt = Write("T-1", "A-1", 1, "complete", 10.5, 13.1)  # it may have come before the claim
    assert count_doubles([claim("A-1", 1, 0.0, until_s=10.0), others, in_doubt]) == 0


def test_a_grant_that_is_told_again_when_another_has_the_task_is_no_double() -> None:
    told_again = Write("T-1", "A-1", 1, "claim", 12.0, 12.1, 10.0)
    assert count_doubles([claim("A-2", 2, 11.0, until_s=20.0), told_again]) == 0


def test_renewed_lease_still_counts_past_its_first_expiry() -> None:
    renewed = write("A-1", 1, "progress", 9.0, until_s=20.0)
    writes = [claim("A-1", 1, 0.0, until_s=10.0), renewed, claim("A-2", 2, 11.0)]
    assert count_doubles(writes) == 1


def test_same_agent_twice_is_no_double() -> None:
    assert count_doubles([claim("A-1", 1, 0.0), claim("A-1", 2, 1.0)]) == 0


def test_one_lease_token_for_two_agents_is_a_double_whenever_it_was() -> None:
    writes = [claim("A-1", 1, 0.0), write("A-1", 1, "release", 1.0), claim("A-2", 1, 50.0)]
    assert count_doubles(writes) == 1


def test_three_holders_are_three_pairs() -> None:
    assert count_doubles([claim(f"A-{i}", i, 0.0) for i in range(3)]) == 3


def test_order_of_the_histories_does_not_matter() -> None:
    writes = [claim("A-1", 1, 0.0), write("A-1", 1, "complete", 5.0), claim("A-2", 2, 3.0)]
    assert count_doubles(writes) == count_doubles(reversed(writes)) == 1


def test_instants_are_read_as_utc() -> None:
    assert seconds_of("1970-01-01T00:01:00Z") == 60.0
    assert seconds_of("") == 0.0
