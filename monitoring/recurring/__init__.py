"""The recurring drift check on stored events, and the labelling queue."""
