"""From an adapter to what is served: merged, converted, proven to be the model that was measured, started."""
