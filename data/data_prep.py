"""The same as data_prep.py in the folder above: python data/data_prep.py."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # Python has put this folder there, not the project's
    runpy.run_path(str(ROOT / "data_prep.py"), run_name="__main__")
