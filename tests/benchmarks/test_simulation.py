from random import Random

from benchmarks import simulation as benchmark


def test_the_model_without_rules_does_all_work_in_order_of_priority() -> None:
    jobs = benchmark._jobs(Random(1))
    assert [job.at_us for job in jobs] == sorted(job.at_us for job in jobs)
    assert benchmark._on_timeline(jobs) == len(jobs) == benchmark.N_TASKS
