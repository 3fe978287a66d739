"""Checks of a rollout: readiness of the pods, known answers, and comparison with the stable model."""
