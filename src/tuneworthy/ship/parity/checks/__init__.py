"""The built-in parity checks."""
