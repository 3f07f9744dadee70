"""What other tools export and log, a module a tool: how it is recognised, and what of it is a conversation."""
