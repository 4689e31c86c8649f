#!/usr/bin/env python3
"""Enhance the microphone and play it, live; Enter switches the bypass, q and Enter ends.

The code is in specmask/cli/live.py.
"""

import sys

from specmask.cli.live import main

if __name__ == "__main__":
    sys.exit(main())
