#!/usr/bin/env python3
"""Write a trained run for other runtimes, and compare the results with the Keras model.

The code is in specmask/cli/export.py.
"""

import sys

from specmask.cli.export import main

if __name__ == "__main__":
    sys.exit(main())
