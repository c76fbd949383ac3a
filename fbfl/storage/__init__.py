"""Content-addressed payloads: CIDs, the tensor codec, and the stores that hold them."""
