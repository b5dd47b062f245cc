"""PM Agent: a project manager for teams of autonomous coding agents.

Agents ask for work, hold it under a lease and report on it. Commands are decided into events,
events are written to a journal, and everything else follows from the journal. Runs without Ray and
without the models package.
"""
