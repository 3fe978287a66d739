"""Near-copies: fingerprints of scans and photographs, and the groups that they form."""
