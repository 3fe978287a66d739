"""Code shared by several packages: contracts, errors, images, volumes, metrics. Imports no kfp and no other package."""
