"""The client: `Client` for programs, `python -m serving.client slice.png ...` for the command line."""

from serving.client.endpoint import DEFAULT_URL, Client, SlicePrediction

__all__ = ["DEFAULT_URL", "Client", "SlicePrediction"]
