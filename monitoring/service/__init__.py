"""The drift monitor as a service: polling, HTTP pages, metrics and stored windows."""
