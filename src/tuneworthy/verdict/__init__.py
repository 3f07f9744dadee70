"""Should this be fine-tuned? Computed from measurements, never from self-declared booleans."""
