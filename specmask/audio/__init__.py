"""Audio: reading and writing, levels, the STFT, pictures of spectrograms."""
