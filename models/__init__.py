"""Models that learn from the journal how long tasks take, how they end and who suits them.

Features are computed by the same functions in training and in scoring. Nothing here knows of Ray
or of the simulator.
"""
