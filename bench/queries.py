"""Queries: what is asked of every peer, by name."""

QUERIES = {
    "agents": "{ agents { id firstName lastName email admin } }",
}
