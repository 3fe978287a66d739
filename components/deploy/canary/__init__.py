"""Canary analysis: settings, probe, sequential test and user metrics."""
