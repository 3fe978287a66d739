"""Deployment to a KServe InferenceService."""
