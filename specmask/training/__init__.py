"""Training: batches, steps, validation, checkpoints."""
