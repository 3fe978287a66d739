"""Volumes: bounded reading of NIfTI files, detection of the specimen, sampling of planes."""
