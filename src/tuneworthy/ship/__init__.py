"""From an adapter to a served model: merged, converted, proven to be the model that was measured, started."""
