"""The report of an evaluation: a page that opens offline, and the same contents as Markdown, CSV and JSON."""
