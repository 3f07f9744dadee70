"""Diagnosis of the store: damage, consequences, and repairs that lose no answer."""
