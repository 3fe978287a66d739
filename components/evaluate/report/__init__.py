"""The report of an evaluation: a page that opens offline, and the same as Markdown, CSV and JSON."""
