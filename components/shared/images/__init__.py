"""Images: bounded decoding, segmentation, crops and descriptors of slices and photographs."""
