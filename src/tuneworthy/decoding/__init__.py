"""Effect of sampling parameters per engine: samplers, presets, lints. Pure: nothing here calls a model."""
