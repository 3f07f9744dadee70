"""The demo project: routing the messages of an e-bike subscription company (written for this tool, Apache-2.0)."""
