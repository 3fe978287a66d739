"""Network architectures: `registry` lists them, `build` builds them."""
