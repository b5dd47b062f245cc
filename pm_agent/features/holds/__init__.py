"""Holds: pause, stop, approval, budget, schedule, on a workspace, project, agent or task.

Commands: `PlaceHold`, `LiftHold`; the clock sends `LiftDueHold`. Events: `HoldPlaced`,
`HoldLifted`.
A hold never ends running work by itself; ``stopped`` tells the agent to stop in every reply.
"""
