"""Trains one backbone on segmented slices."""
