#!/usr/bin/env python3
"""Train recipes on the same data at the same budget, and score them on the same files.

The code is in specmask/commands/compare.py.
"""

import sys

from specmask.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
