"""Ray shells around `pm_agent.runtime`: handles, restart, placement and isolation.

What an actor does is decided in pm_agent; here is only how it lives in a Ray cluster.
"""
