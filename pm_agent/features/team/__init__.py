"""The team: agents register, change their profile and show that they live.

Commands: `RegisterAgent`, `HeartbeatAgent`. Events: `AgentRegistered`. A heartbeat leaves no event:
presence is input to decisions, not truth.
"""
