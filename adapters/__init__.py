"""The sources, one folder each; knows nothing of GraphQL."""

# Other distributions use this import name too: gateway/guard.py reads the mark before anything else runs.
DISTRIBUTION = "switchboard-gateway"
