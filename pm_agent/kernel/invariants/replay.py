"""Folds a journal again."""

from collections.abc import Iterable, Iterator, Sequence

from pm_agent.domain.world import World
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.kernel.invariants.promises import REPLAY, SINGLE_WRITER, Violation
from pm_agent.ports import GENESIS, StoredEvent, StoredSnapshot


def check_replay(
    stored: Sequence[StoredEvent], live: str, snapshot: StoredSnapshot | None = None
) -> list[Violation]:
    """Fold a whole journal again and compare fingerprints.

    Parameters
    ----------
    stored
        Every event from the first on.
    live
        Fingerprint of the world that is to come out.
    snapshot : optional
        Of the same journal; with the events after it the same world must come out.
    """
    found = list(_check_chain(stored))
    world = World()
    at_snapshot = ""
    for one in stored:
        world.apply(unseal(one))
        if snapshot is not None and one.position == snapshot.position:
            at_snapshot = world.fingerprint()
    if world.fingerprint() != live:
        found.append(Violation(REPLAY, f"{len(stored)} events fold to another world"))
    if snapshot is not None:
        loaded, _ = snapshots.load(snapshot)
        if snapshot.position and loaded.fingerprint() != at_snapshot:
            found.append(Violation(REPLAY, f"the snapshot at {snapshot.position} is another world"))
        for one in stored[snapshot.position :]:
            loaded.apply(unseal(one))
        if loaded.fingerprint() != live:
            detail = f"the snapshot at {snapshot.position} and its tail fold to another world"
            found.append(Violation(REPLAY, detail))
    return found


def _check_chain(stored: Iterable[StoredEvent]) -> Iterator[Violation]:
    previous, epoch = GENESIS, 0
    for one in stored:
        if not is_intact(one, previous):
            yield Violation(REPLAY, f"event {one.position} does not follow the hash before it")
        if one.epoch < epoch:
            detail = f"event {one.position} of epoch {one.epoch} follows epoch {epoch}"
            yield Violation(SINGLE_WRITER, detail)
        previous, epoch = one.hash, max(epoch, one.epoch)
