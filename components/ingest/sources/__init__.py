"""Where volumes and photographs come from: addresses, object stores, manifests."""
