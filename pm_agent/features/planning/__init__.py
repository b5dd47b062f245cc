"""Planning: what portfolio managers compute on a snapshot and propose as commands.

Command: `SetCriticalPaths`. Event: `CriticalPathsSet`. ``critical_path.py`` is the computation; it
runs beside the coordinator, never inside a decision.
"""
