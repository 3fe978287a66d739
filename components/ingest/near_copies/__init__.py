"""Near-copies: fingerprints of volumes and photographs, and groups of specimens that show one individual."""
