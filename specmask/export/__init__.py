"""Trained networks for other runtimes, and their comparison with the Keras model."""
