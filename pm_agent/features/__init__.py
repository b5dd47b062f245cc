"""The rules, one folder a capability.

``decide.py`` turns commands into events, ``view.py`` is what people and APIs read, ``react.py``
turns events into effects and alarms. Features never import each other.
"""
