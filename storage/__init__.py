"""What is kept: tracklets, embeddings, crops, and the index over them."""
