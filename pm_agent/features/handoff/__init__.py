"""A running task passes from one agent to another.

`HandOffTask` offers it (`HandoffOffered`); the other's yes (`RespondToHandoff`) ends one attempt
and begins the next in one step: `TaskReleased`, `HandoffAccepted`. A no is `HandoffDeclined`; an
alarm brings `ExpireHandoff` when nobody answers (`HandoffExpired`). The giver gets a message.
"""
