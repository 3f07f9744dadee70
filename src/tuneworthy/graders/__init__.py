"""Judging answers: a file a grader, `apply` to run one over traces, `base` for the rules that hold for all."""
