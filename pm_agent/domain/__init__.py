"""The nouns: types, commands, events and how events change the world.

Nothing here reads a clock, a random number or the outside. One noun per file; each file holds the
noun's type, the commands about it, its events and their ``apply``. ``world.py`` only dispatches.
"""
