"""The backbones: `registry` says which there are and what they need, `build` makes the networks."""
