"""The rules, one folder a capability: ``decide.py`` (commands → events), ``view.py`` (what people
and APIs read), ``react.py`` (events → effects and alarms). Features never import each other.
"""
