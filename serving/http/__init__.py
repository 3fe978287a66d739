"""The HTTP server: routes, request bodies and bounded connections."""
