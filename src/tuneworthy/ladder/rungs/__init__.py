"""The rungs of the ladder, a file a rung."""
