import pytest

from pm_agent.runtime.token_bucket import TokenBuckets


class Clock:
    """Seconds that are moved, not awaited."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_full_bucket_gives_a_burst_and_then_says_how_long_to_wait(clock: Clock) -> None:
    buckets = TokenBuckets(per_s=2, burst=3, clock_s=clock)
    assert [buckets.take("a") for _ in range(3)] == [0.0] * 3
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("a") == pytest.approx(0.5)  # asking in vain costs nothing


def test_tokens_come_back_with_time_and_never_more_than_a_burst(clock: Clock) -> None:
    buckets = TokenBuckets(per_s=2, burst=3, clock_s=clock)
    while not buckets.take("a"):
        pass
    clock.now_s += 0.5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0
    clock.now_s += 3_600
    taken = [buckets.take("a") for _ in range(4)]
    assert taken[:3] == [0.0] * 3
    assert taken[3] > 0


def test_who_waits_as_long_as_told_gets_a_token(clock: Clock) -> None:
    buckets = TokenBuckets(per_s=0.3, burst=1, clock_s=clock)
    assert buckets.take("a") == 0.0
    for _ in range(100):
        clock.now_s += buckets.take("a")
        assert buckets.take("a") == 0.0


def test_over_a_long_time_the_rate_is_kept(clock: Clock) -> None:
    buckets = TokenBuckets(per_s=5, burst=10, clock_s=clock)
    granted = 0
    for _ in range(10_000):  # 100 s, asking 100 times a second
        clock.now_s += 0.01
        granted += buckets.take("a") == 0.0
    assert 500 <= granted <= 510


def test_each_key_has_a_bucket_of_its_own(clock: Clock) -> None:
    buckets = TokenBuckets(per_s=1, burst=1, clock_s=clock)
    assert buckets.take("a") == 0.0
    assert buckets.take("b") == 0.0
    assert buckets.take("a") > 0


def test_memory_stays_bounded_and_full_buckets_are_forgotten_first(clock: Clock) -> None:
    buckets = TokenBuckets(per_s=1, burst=100, clock_s=clock, max_keys=100)
    for n in range(60):
        buckets.take(f"old-{n}")
    clock.now_s += 10  # those are full again
    for _ in range(100):
        buckets.take("busy")
    for n in range(1_000):
        buckets.take(f"new-{n}")
        assert len(buckets) <= 100
    clock.now_s += 10
    for n in range(41):
        buckets.take(f"late-{n}")
    assert len(buckets) <= 100
