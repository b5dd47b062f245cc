"""The API once more, with appends that end in doubt: callers ask again, and all ends the same.

Over HTTP and MCP. Two tests of the suite are about the refusal itself; and programs that send
whatever comes to their mind would take a 503 of the journal for a wrong answer.
"""

import os
import re
import subprocess
import sys

import pytest

from tests import ambiguous_journal

ABOUT_THE_REFUSAL = (
    "tests/api/test_overload.py::test_reads_go_on_and_are_marked_stale_while_the_journal_fails",
    "tests/api/test_overload.py::test_a_registration_that_was_cut_in_half_is_finished_by_its_retry",
)
SHARE = 0.01


@pytest.mark.skipif(bool(ambiguous_journal.SHARE), reason="this is the run inside the test")
@pytest.mark.timeout(600)
def test_the_api_keeps_its_word_when_appends_end_in_doubt() -> None:
    out_of_this = [f"--deselect={test}" for test in ABOUT_THE_REFUSAL]
    out_of_this += [f"--ignore=tests/api/{name}.py" for name in ("test_fuzz", "test_schemathesis")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/api", "-q", "-p", "no:cacheprovider", *out_of_this],
        capture_output=True,
        check=False,
        env=os.environ | {"PM_AGENT_TEST_AMBIGUOUS": str(SHARE)},
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-5_000:]
    told = re.search(r"(\d+) appends, (\d+) in doubt, (\d+) of them written", ran.stdout)
    assert told is not None, ran.stdout[-500:]
    n_appends, n_in_doubt, n_written = map(int, told.groups())
    assert n_appends > 500
    assert 0 < n_written < n_in_doubt
