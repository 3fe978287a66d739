"""What several rooms share: contracts, errors, imaging, descriptors, metrics. No kfp, no other room."""
