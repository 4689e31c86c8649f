"""The data set: recordings, mixtures, and the STFT cache."""
