"""The ensemble: its rules, how one is selected, and its calibration."""
