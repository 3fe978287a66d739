"""Frozen features, computed once for each view of a slice: `cut` divides the network, `cache` stores the features."""
