"""Measurements of PM Agent, run by `python -m benchmarks`.

Each reports median and tail over several runs, next to a rival or a bound. May import everything;
nothing imports it.
"""
