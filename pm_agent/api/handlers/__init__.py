"""What each operation does: an input becomes commands, or a reading of the replica.

One file for each noun, as in ``operations``. A handler decides nothing; the core does, and its
refusals are raised as `Refused`.
"""
