"""Revisions of the PostgreSQL journal's tables."""
