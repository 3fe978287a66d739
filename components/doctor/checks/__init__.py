"""Checks of the doctor, one module for each group; each function asks the cluster one question."""
