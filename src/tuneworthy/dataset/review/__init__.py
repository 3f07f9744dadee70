"""Review by people: the sample, its log and what the log says about a version."""
