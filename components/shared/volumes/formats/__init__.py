"""File formats of volumes."""
