"""An example package that extends tuneworthy through entry points; CONTRIBUTING.md shows its files."""
