"""Deduplication: exact, near and semantic duplicates among the rows."""
