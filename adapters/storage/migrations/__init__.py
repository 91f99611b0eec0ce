"""The migrations: every step from an empty database to this version's schema."""

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011")
"""Oldest first. Kept by hand so that a start need not import Alembic to know it; a test compares."""
