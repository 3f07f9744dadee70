"""Search over documents, and the encoder of sentences."""
