"""Agents talk: `SendMessage`, `BroadcastUpdate` and `AcknowledgeMessages`.

Events: `MessageSent`, `MessagesAcknowledged`. Other features say what they have to say to an agent
by the same event (`pm_agent.kernel.mail`). No effects: unread messages are told with every result.
"""
