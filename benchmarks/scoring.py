"""Time and memory of evaluate.py while many files are scored, and the size of its report.

    python benchmarks/scoring.py OUT [--files 10000] [--metrics si_sdr stoi ...]

Makes short files (1 s, 20 different ones under many names, of any SNR and 40 noises), scores them
on two processes, and prints, after every tenth, the resident memory of this process and of its
workers. Linux only.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import helpers  # noqa: E402

from specmask import parallel  # noqa: E402
from specmask.cli import evaluate  # noqa: E402
from specmask.evaluation.metrics import table  # noqa: E402

DIFFERENT = 20


def megabytes(process: Path) -> float:
    """Resident memory of a process, from its folder in /proc."""
    lines = (process / "status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0)


def workers() -> list[Path]:
    """Processes that this one has started."""
    return [
        Path("/proc", child)
        for task in Path("/proc/self/task").iterdir()
        for child in (task / "children").read_text().split()
    ]


def make(out: Path, count: int) -> None:
    """Write the missing pairs and their conditions."""
    rows = [
        {"id": f"{i:05d}", "snr_db": i % 251 / 10 - 5, "noise": f"noise {i % 40}"}
        for i in range(count)
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "conditions.json").write_text(json.dumps(rows))
    for i in range(count):
        for folder, level in (("clean", 0), ("noisy", 0.02)):
            path = out / folder / f"{i:05d}.wav"
            if i < DIFFERENT:
                helpers.write_audio(path, helpers.noisy_bursts(i, level))
            elif not path.exists():
                path.hardlink_to(out / folder / f"{i % DIFFERENT:05d}.wav")


def main() -> None:
    """Score and print a line after every tenth of the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--metrics", nargs="+", default=list(table.DEFAULT))
    args = parser.parse_args()
    make(args.out, args.files)
    start, real = time.monotonic(), parallel.map_chunks

    def watched(*arguments):
        for number, row in enumerate(real(*arguments), 1):
            if number % (args.files // 10) == 0:
                sizes = [f"{megabytes(p):.0f}" for p in workers()]
                own = f"{megabytes(Path('/proc/self')):.0f}"
                seconds = time.monotonic() - start
                print(f"{number:6d} files {seconds:5.0f} s  own {own} MB, workers {sizes} MB")
            yield row

    parallel.map_chunks = watched
    table.DEFAULT = tuple(args.metrics)
    out = args.out / "report"
    words = [args.out / "clean", args.out / "noisy", "--noisy", args.out / "noisy", "--out", out]
    words += ["--by", args.out / "conditions.json", "--set", "compute.workers=2"]
    evaluate.main([str(word) for word in words])
    own = f"{megabytes(Path('/proc/self')):.0f}"
    print(f"report written: {time.monotonic() - start:5.0f} s  own {own} MB")
    for path in sorted(out.glob("*.*")):
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


main()
