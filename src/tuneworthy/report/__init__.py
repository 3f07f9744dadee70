"""The report of a run: one self-contained HTML page, Markdown, or JSON. Charts are imported when a page is made."""
