"""Forms of synthetic fossils as distance fields."""
