"""Ray shells around ``pm_agent.runtime``: names, handles, restarts, placement. No rules."""
