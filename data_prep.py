#!/usr/bin/env python3
"""Make the data set: mix clean speech and noise at stepped SNRs.

The code is in specmask/cli/data_prep.py.
"""

import sys

from specmask.cli.data_prep import main

if __name__ == "__main__":
    sys.exit(main())
