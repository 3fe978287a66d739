"""Alert rules and dashboards, and the files that are generated from them."""
