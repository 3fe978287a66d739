"""Deploy step: publish a model that passed the gate as a new version of the endpoint."""
