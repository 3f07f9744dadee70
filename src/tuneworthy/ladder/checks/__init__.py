"""The built-in checks, by area; see `tuneworthy.ladder.check`."""
