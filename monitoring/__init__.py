"""The watch: drift statistics, collector, exporter, alert rules, dashboards, runbook."""

import os

# Evidently decides about its telemetry when it is imported.
os.environ["DO_NOT_TRACK"] = "1"
