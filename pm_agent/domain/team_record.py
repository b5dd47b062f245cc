"""How all agents together have done at each kind of task: what is known before one agent is.

Sums over the track records, kept as they change: a table of floats that a claim takes rows from.
"""

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.track_record import NO_RECORD, TrackRecord

# Of each kind, as decisions see it.
TEAM_FACTS = (
    "team_success",  # smoothed share of accepted attempts of all agents at this kind of task
    "team_outcomes",  # faded number of outcomes behind it
    "team_pace_min",  # mean time of their accepted attempts; 0 without one
)


class TeamRecord:
    """Facts about kinds of tasks, by the kinds' numbers."""

    def __init__(self) -> None:
        self._sums: list[list[float]] = []  # of each kind: accepted, failed, minutes of accepted
        self.rows: NDArray[np.float32] = np.empty((0, len(TEAM_FACTS)), dtype=np.float32)

    def know(self, kind: int) -> None:
        """Begin a row for a kind that is new."""
        if kind == len(self._sums):
            self._sums.append([0.0, 0.0, 0.0])
            row = np.array([[NO_RECORD.success, 0.0, 0.0]], dtype=np.float32)
            self.rows = np.concatenate([self.rows, row])

    def replace(self, kind: int, old: TrackRecord, new: TrackRecord) -> None:
        """Count an agent's record at a kind in place of its old one."""
        sums = self._sums[kind]
        sums[0] += new.accepted - old.accepted
        sums[1] += new.failed - old.failed
        sums[2] += new.accepted * new.duration_min - old.accepted * old.duration_min
        accepted, failed, minutes = sums
        pace_min = minutes / accepted if accepted else 0.0
        self.rows[kind] = (accepted + 1) / (accepted + failed + 2), accepted + failed, pace_min
