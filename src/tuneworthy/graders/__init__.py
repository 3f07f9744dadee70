"""Judging answers: a file a grader, `apply` to run one over traces, `base` for the common rules."""
