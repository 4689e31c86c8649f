"""The whole job on speech and noise that it makes itself: the scripts, one after the other.

    python demo/run.py

Everything goes to demo/out, 240 MB. About eight minutes on two cores, beside the installation.
"""

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "demo" / "out"
CONFIG = ROOT / "recipes" / "demo.ini"


def steps() -> list[list[str]]:
    """Return the command lines of the demo, without the interpreter."""
    config = ["--config", str(CONFIG)]
    return [
        [str(ROOT / "demo" / "synthesize.py"), str(OUT / "audio")],
        [str(ROOT / "data" / "data_prep.py"), *config],
        [str(ROOT / "stft.py"), *config],
        [str(ROOT / "train.py"), *config],
        [str(ROOT / "enhance.py"), *config, "--overwrite"],
        [str(ROOT / "evaluate.py"), *config, "--baseline", "wiener"],
    ]


def main() -> int:
    started = time.monotonic()
    for command in steps():
        shown = [str(Path(c).relative_to(ROOT)) if c.startswith(str(ROOT)) else c for c in command]
        print(f"\n$ python {' '.join(shown)}", flush=True)
        code = subprocess.run([sys.executable, *command]).returncode
        if code:
            return code
    print(
        f"\nDone in {(time.monotonic() - started) / 60:.1f} minutes. Scores, and players to "
        f"compare by ear, open in a browser:\n  {OUT / 'report' / 'index.html'}\n"
        f"Or listen to:\n"
        f"  noisy     {OUT / 'data' / 'NoisySpeech_testing'}\n"
        f"  enhanced  {OUT / 'enhanced'}\n"
        f"  clean     {OUT / 'data' / 'CleanSpeech_testing'}\n"
        "Next: your own recordings, README.md."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
