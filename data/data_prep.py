#!/usr/bin/env python3
"""The same as data_prep.py in the folder above.

The code is in specmask/cli/data_prep.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # Python has put data/ there

from specmask.cli.data_prep import main

if __name__ == "__main__":
    sys.exit(main())
