"""A seeded driver that runs the rules of pm_agent in virtual time, with made-up agents and faults.

The rules are the very ones that serve real agents; only the clock and the agents differ. Never
imports Ray.
"""
