"""Code for outside things, one file each, named ``port_thing.py`` after the port it fulfils.

Chosen and wired in ``pm_agent.bootstrap`` alone; nothing below this layer imports it.
"""
