#!/usr/bin/env python3
"""Enhance recordings: the noisy test files into ./enhanced, or IN into OUT.

The code is in specmask/cli/enhance.py.
"""

import sys

from specmask.cli.enhance import main

if __name__ == "__main__":
    sys.exit(main())
