"""The recordings that mixtures are made of."""
