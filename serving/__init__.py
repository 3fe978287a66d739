"""The HTTP endpoint: transformer, local model server, client."""
