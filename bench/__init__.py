"""The benchmark: what this gateway costs beside plain Strawberry on the same data. Run `python -m bench`."""
