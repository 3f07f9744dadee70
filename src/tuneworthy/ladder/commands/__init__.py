"""What commands other than `run` do with an opened project: compare, sweep, measure uncertainty, export a variant."""
