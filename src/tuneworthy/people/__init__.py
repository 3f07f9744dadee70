"""Questions to people about rows: the sample, the log of their ratings, and the state of a review."""
