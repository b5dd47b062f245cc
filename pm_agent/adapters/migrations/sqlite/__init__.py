"""Revisions of the SQLite journal's tables."""
