"""Volumes become slices: read, find the specimen, cut planes, split by specimen."""
