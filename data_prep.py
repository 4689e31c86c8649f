#!/usr/bin/env python3
"""Make the data set: mix clean speech and noise at stepped SNRs.

The code is in specmask/commands/data_prep.py.
"""

import sys

from specmask.commands.data_prep import main

if __name__ == "__main__":
    sys.exit(main())
