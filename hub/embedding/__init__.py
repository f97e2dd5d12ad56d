"""Face crops to embeddings: the port, its manifest, and the choice of a model."""
