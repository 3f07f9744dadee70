"""A candidate is asked what real traffic asked: recording -> pairs -> verdict, and `replay`, which joins them."""
