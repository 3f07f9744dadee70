"""What wins, taken home: a prompt, a classifier or a router as a folder."""
