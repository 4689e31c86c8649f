#!/usr/bin/env python3
"""Train a network on the cached data set; run again to resume from the last checkpoint.

The code is in specmask/cli/train.py.
"""

import sys

from specmask.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
