"""Export of the served model: SavedModel, model card, reference profile and digests in a version folder."""
