"""Whether a built version is better than its raw rows: sets of ours and real ones, with planted poison."""
