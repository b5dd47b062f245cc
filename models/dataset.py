"""From a journal to tables: what was known at each decision, and what became of it.

A row is computed while the events are read in order, so everything but its labels was known at its
instant, and a test can prove it by reading a shorter journal. Attempts that still run are rows too:
their durations are censored, not dropped.

This is the only module here that opens a journal.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from models.errors import FileNotReadable
from models.fold import Fold
from models.grid import FACT_NAMES
from models.history import History
from pm_agent import bootstrap
from pm_agent.ports import Journal

PAGE = 2_000  # events a read


def load_history(
    place: str | Path,
    workspace: str = "main",
    *,
    as_of_us: int | None = None,
    fact_names: Mapping[str, Sequence[str]] = FACT_NAMES,
) -> History:
    """Tables of everything that a journal tells.

    Parameters
    ----------
    place : str or Path
        The journal: an SQLite file, or a PostgreSQL URL; or a folder that `History.save` wrote.
        The journal may be in use; nothing is changed.
    workspace : str
        Whose journal it is.
    as_of_us : int, optional
        Read as if it were this instant: later events did not happen. Microseconds since 1970 UTC.
    fact_names : mapping, optional
        Names of a decision's facts by the version of the scorer, for scorers of your own. Facts of
        an unknown version are left out.

    Raises
    ------
    FileNotReadable
        There is no such file, or it is no journal and no folder of tables.
    """
    if Path(place).is_dir():
        return History.read(Path(place))
    if "://" not in str(place) and not Path(place).is_file():
        raise FileNotReadable(f"There is no journal at {place}.", "Give a journal's path or URL.")
    # A thread of its own: a notebook's thread has a running event loop already.
    with ThreadPoolExecutor(1) as thread:
        work = _read(str(place), workspace, as_of_us, fact_names)
        return thread.submit(asyncio.run, work).result()


async def _read(
    place: str,
    workspace: str,
    as_of_us: int | None,
    fact_names: Mapping[str, Sequence[str]],
) -> History:
    journal: Journal = bootstrap.open_history(place, workspace)
    fold = Fold(fact_names)
    after = 0
    try:
        while page := await journal.read(after, PAGE):
            for stored in page:
                if as_of_us is not None and stored.at_us > as_of_us:
                    return fold.tables(as_of_us)
                fold.take(stored)
            after = page[-1].position
        return fold.tables(as_of_us if as_of_us is not None else fold.known.now_us)
    finally:
        await journal.close()
