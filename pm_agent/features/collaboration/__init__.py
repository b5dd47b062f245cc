"""Agents help each other.

`RequestCollaboration` asks the best of those who could help (`CollaborationRequested`); the first
yes (`RespondToCollaboration`) gets it (`CollaborationAccepted`), a no asks the next
(`CollaborationDeclined`), and an alarm brings `ExpireCollaboration` when nobody takes it up in time
(`CollaborationExpired`). Whoever is concerned gets a message. No effects.
"""
