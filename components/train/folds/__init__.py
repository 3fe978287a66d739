"""Grouped cross-validation: the data set of each fold, and a model trained on each of them."""
