"""Is the model that is served the model that was trained? Measured in every form, and each difference named."""
