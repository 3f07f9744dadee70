"""From a frozen dataset to an adapter: settings, requirements, and the run itself."""
