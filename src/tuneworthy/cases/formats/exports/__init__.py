"""Exports and logs of other tools, one module per tool."""
