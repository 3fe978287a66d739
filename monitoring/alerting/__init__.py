"""Alert rules, dashboards and the files generated from them."""
