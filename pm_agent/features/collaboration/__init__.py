"""Agents talk, help each other, and hand tasks over.

Messages: `SendMessage`, `BroadcastUpdate` and `AcknowledgeMessages` lead to `MessageSent` and
`MessagesAcknowledged`. Help: `RequestCollaboration` asks the best of those who could help
(`CollaborationRequested`); the first yes (`RespondToCollaboration`) gets it. Handoff: `HandOffTask`
offers a running task to another agent (`HandoffOffered`), whose yes (`RespondToHandoff`) ends one
attempt and begins the next in one step: `TaskReleased`, `HandoffAccepted`. Alarms bring
`ExpireCollaboration` and `ExpireHandoff` when nobody answers. Whoever is concerned by any of this
gets a message about it. No effects but instructions for the new attempt.
"""
