#!/usr/bin/env python3
"""Download a known corpus from its home and unpack it; run again to resume.

The code is in specmask/cli/fetch.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # Python has put data/ there

from specmask.cli.fetch import main

if __name__ == "__main__":
    sys.exit(main())
