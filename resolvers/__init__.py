"""Between the two worlds: translations, batch functions, loaders and the roots of the graph."""

# Other distributions use this import name too: gateway/guard.py reads the mark before anything else runs.
DISTRIBUTION = "switchboard-gateway"
