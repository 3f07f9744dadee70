"""From a frozen dataset to an adapter: what to train with, what it needs, and the run itself."""
