"""The client: `Client` for programs, `python -m serving.client slice.png ...` for people."""

from serving.client.endpoint import DEFAULT_URL, Client, Prediction

__all__ = ["DEFAULT_URL", "Client", "Prediction"]
