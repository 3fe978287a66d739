"""The segment step: set every pixel of a slice outside the specimen to black."""
