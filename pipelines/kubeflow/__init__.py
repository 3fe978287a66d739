"""Client of a Kubeflow Pipelines server."""
