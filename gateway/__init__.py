"""The application: settings, server, GraphQL view, CLI. It wires the other packages and decides nothing."""

# Other distributions use this import name too: gateway/guard.py reads the mark before anything else runs.
DISTRIBUTION = "switchboard-gateway"

__version__ = "0.1.0"
