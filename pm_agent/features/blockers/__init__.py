"""Blockers: what stops a task, from its report to its resolution.

`ReportBlocker` (`BlockerReported`; `TaskReleased` when the agent gives the task back) begins a
climb: step by step (`BlockerStepTaken`, `BlockerStepEnded`) up to a person, by agents' words
(`ReportFix`), the clock (`CheckBlocker`), tasks that end (`SettleBlockers`) and the language
model's advice (effect `AskForAdvice`, `StoreAdvice`, `BlockerAdvised`), until an answer or a step
ends it (`ResolveBlocker`, `BlockerResolved`). While an agent keeps the task, waiting for the answer
is not silence. `ladder.py` chooses, `ways.py` says what is possible, `memory.py` what is likely.
"""
