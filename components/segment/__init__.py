"""Slices without background: everything but the specimen is set to black."""
