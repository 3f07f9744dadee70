"""What a set of sampling parameters does, per engine: samplers, presets, lints. Pure: nothing here asks a model."""
