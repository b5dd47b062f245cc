"""The backlog: projects and tasks, their dependencies, what is logged on them, and their end.

Commands: `CreateProject`, `UpdateProject`, `CreateTask`, `ImportTasks`, `UpdateTask`, `CancelTask`,
`ReopenTask`, `LogDecision`, `LogArtifact`; the clock sends `ArchiveTask`. Events: `ProjectCreated`,
`ProjectUpdated`, `TaskCreated`, `TaskUpdated`, `TaskCancelled`, `TaskReopened`, `DecisionLogged`,
`ArtifactLogged`, `TaskArchived`. Cycles are refused when written (``cycles.py``), so a set of ready
tasks always exists while work is left.
"""
