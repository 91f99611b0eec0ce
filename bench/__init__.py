"""The benchmarks: what this gateway costs beside plain Strawberry over the same resolvers."""
