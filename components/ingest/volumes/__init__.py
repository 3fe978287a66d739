"""One volume: read within bounds, its specimen found, planes cut through it, its form as a fingerprint."""
