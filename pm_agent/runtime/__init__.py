"""Asyncio drivers of the core, without Ray. ``actors/`` wraps them; ``--no-ray`` runs them bare."""
