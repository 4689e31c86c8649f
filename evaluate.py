#!/usr/bin/env python3
"""Score enhanced files against the clean ones and write the report.

The code is in specmask/cli/evaluate.py.
"""

import sys

from specmask.cli.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
