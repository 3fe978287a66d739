"""The deploy step: a model that passed its gate becomes a version that users reach."""
