"""The ingest step: volumes and photographs become a data set of slices, split by specimen."""
