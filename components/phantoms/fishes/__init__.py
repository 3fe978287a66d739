"""Synthetic photographs of fishes: forms, drawing, scene and data set."""
