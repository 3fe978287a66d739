"""What a person sees of a data set."""
