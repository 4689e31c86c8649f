#!/usr/bin/env python3
"""Cache the short-time Fourier transforms of the data set on disk, for training.

The code is in specmask/cli/stft.py.
"""

import sys

from specmask.cli.stft import main

if __name__ == "__main__":
    sys.exit(main())
