"""Reading files of cases and examples: rows as a stream, all faults of a file at once."""
