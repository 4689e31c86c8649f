"""Channels of recordings as rows of a network: one mask each, or one for all of a recording."""

from collections.abc import Sequence

import numpy as np

POWER_FLOOR = np.float32(1e-12)  # in silence all channels count alike


class Channels:
    """The rows of several recordings, and the masks that the channels of each share.

    Args:
        mode: separate (one mask per channel), linked (the mean of their masks for all, which keeps
            the stereo image), or mid (for all the mask of their mean, at the cost of one channel).
        counts: number of channels per recording.
    """

    def __init__(self, mode: str, counts: Sequence[int]):
        self.mode, self.rows = mode, sum(counts)
        self.counts = np.array(counts, np.float32)
        self.starts = np.cumsum([0, *counts[:-1]])
        self.recording = np.repeat(np.arange(len(counts)), counts)  # of each row

    @property
    def network_rows(self) -> int:
        """Number of rows that the network sees."""
        return len(self.counts) if self.mode == "mid" else self.rows

    def to_network(self, noisy: np.ndarray) -> np.ndarray:
        """Return what the network sees, complex64 [network_rows, frames, bins], of all rows."""
        if self.mode != "mid":
            return noisy
        return np.add.reduceat(noisy, self.starts) / self.counts[:, None, None]

    def from_network(self, mask: np.ndarray, noisy: np.ndarray) -> np.ndarray:
        """Return the masks of all rows, complex64 [rows, frames, bins].

        Linked channels share the mean of their masks, weighted by the power of their frames: a
        channel that is silent does not count.

        Args:
            mask: what the network has given, complex64 [network_rows, frames, bins].
            noisy: the frames that the masks are for, complex64 [rows, frames, bins].
        """
        if self.mode == "mid":
            return mask[self.recording]
        if self.mode == "separate" or len(self.counts) == self.rows:
            return mask
        power = np.sum(np.abs(noisy) ** 2, axis=2, keepdims=True) + POWER_FLOOR
        total = np.add.reduceat(power, self.starts)
        return (np.add.reduceat(mask * power, self.starts) / total)[self.recording]
