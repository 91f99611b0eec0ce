"""Storage: our own tables, in SQLite or MySQL; one more source."""
