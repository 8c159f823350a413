"""The trace store: what happened, in a file of SQLite."""
