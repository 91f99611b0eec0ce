"""What clients see: Strawberry types, one file a noun. Imports nothing of ours and does no I/O."""

# Other distributions use this import name too: gateway/guard.py reads the mark before anything else runs.
DISTRIBUTION = "switchboard-gateway"
