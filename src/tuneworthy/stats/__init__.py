"""Statistics of the ladder: intervals, paired tests, power, acceptance and comparison plans; numpy and scipy only.

A case contributes a numerator and a denominator to a score (`ratios`); cases that share a source are one cluster.
"""
