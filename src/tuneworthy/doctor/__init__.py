"""The state of the store: what of it is damaged, what that costs, and what can be repaired without losing an answer."""
