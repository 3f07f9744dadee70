"""Pages for people: the label page, a file that works offline, and the views of `ui`."""
