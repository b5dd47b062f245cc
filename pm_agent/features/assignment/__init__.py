"""Who gets which task, under which lease, and how a lease ends.

Commands: `ClaimTask`, `WaitForTask`, `WithdrawOffer`, `ReleaseTask`; the clock sends `CheckLease`.
Events: `TaskAssigned` (with its whole decision record), `TaskReleased`, `AssignmentExpired`.
``facts.py`` shortlists and measures candidates, ``scoring.py`` scores them, ``pick.py`` chooses for
one agent and ``matching.py`` for several that wait, and ``record.py`` writes down why.
"""
