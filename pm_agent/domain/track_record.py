"""How an agent has done on a kind of task: online counts that decay with each new outcome."""

from collections.abc import Mapping

import msgspec

# Each new outcome multiplies the old counts: about the last 30 outcomes matter (1 / (1 - 0.967)).
DECAY = 0.967


class TrackRecord(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    accepted: float = 0.0
    failed: float = 0.0  # rejected, failed or expired
    duration_min: float = 0.0  # decayed mean of accepted attempts

    @property
    def success(self) -> float:
        """Smoothed share of accepted attempts, 0..1; 0.5 without history (Laplace's rule)."""
        return (self.accepted + 1.0) / (self.accepted + self.failed + 2.0)


NO_RECORD = TrackRecord()


def with_outcome(record: TrackRecord, *, accepted: bool, duration_min: float) -> TrackRecord:
    """Return the record after one more attempt."""
    if not accepted:
        return TrackRecord(record.accepted * DECAY, record.failed * DECAY + 1, record.duration_min)
    count = record.accepted * DECAY + 1
    mean = record.duration_min + (duration_min - record.duration_min) / count
    return TrackRecord(count, record.failed * DECAY, mean)


def of_all_kinds(records: Mapping[str, TrackRecord]) -> TrackRecord:
    """Sum an agent's records up: counts together, times by how many accepted attempts they mean."""
    accepted = failed = minutes = 0.0
    for record in records.values():
        accepted += record.accepted
        failed += record.failed
        minutes += record.accepted * record.duration_min
    return TrackRecord(accepted, failed, minutes / accepted if accepted else 0.0)
