"""Doctor step: ask the cluster for everything that a run needs, before the run takes hours."""
