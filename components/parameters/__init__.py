"""Check of a run's parameters before its first step; it knows the settings of all steps."""
