"""Drift detection: window statistics, the monitor, the recurring check, alert rules, dashboards and the runbook."""

import os

# Evidently reads this setting when it is imported.
os.environ["DO_NOT_TRACK"] = "1"
