"""Blockers: what stops a task, from its report to its resolution.

Commands: `ReportBlocker`, `ResolveBlocker`. Events: `BlockerReported`, `BlockerResolved`, and
`TaskReleased` when the agent gives the blocked task back. While it keeps the task, waiting for the
answer is not silence.
"""
