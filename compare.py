#!/usr/bin/env python3
"""Train recipes on the same data at the same budget, and score them on the same files.

The code is in specmask/cli/compare/.
"""

import sys

from specmask.cli.compare.command import main

if __name__ == "__main__":
    sys.exit(main())
