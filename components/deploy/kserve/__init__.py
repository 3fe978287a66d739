"""Roll-outs on KServe: one InferenceService in Standard or Knative mode."""
