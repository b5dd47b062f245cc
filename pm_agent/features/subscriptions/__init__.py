"""Standing filters for tasks that agents want pushed to them.

Commands: `Subscribe`, `Unsubscribe`; the effect runner's `NotePush`. Events: `Subscribed`,
`Unsubscribed`, `TaskPushed`, `PushFailed`. The claim path reads the filters: what waits, streams
and webhooks are offered must match one of them. A task offered to an agent with a webhook asks for
the effect `PushTask`. A push that is given up frees the task at once (`AssignmentExpired`).
"""
