"""Mixtures of speech and noise, from the plan to the files."""
