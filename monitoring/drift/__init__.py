"""Drift detection: event log, windows, features, calibration and the detector."""
