"""Calls of a running program: recorded by a decorator, a client or a proxy, and read as the start of a project."""
