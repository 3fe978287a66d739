"""The drift monitor as a service: polling, state, stored windows, metrics and the HTTP page."""
