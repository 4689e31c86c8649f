#!/usr/bin/env python3
"""Score enhanced files against the clean ones and write the report.

The code is in specmask/commands/evaluate.py.
"""

import sys

from specmask.commands.evaluate import main

if __name__ == "__main__":
    sys.exit(main())
