"""Proof that neither kills nor engines change a data set.

    python benchmarks/data_prep_kills.py SPEECH NOISE --engines dask ray

Makes 500 files once without a break by one worker. Then again by two workers, killed 20 times (-9,
with or without its workers) at random moments, and finished; then by every engine that is named;
then grown by a fifth. Prints how many files were done at every kill, and compares every byte of
every file. Exit code 1 if one differs.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(args: argparse.Namespace, out: Path, **changes: object) -> list[str]:
    options = {
        "data.clean_train_path": args.speech, "data.noise_train_path": args.noise,
        "data.data_path": out, "data.total_training_files": args.files,
        "data.total_validation_files": 20, "data.total_testing_files": 0, "compute.workers": 2,
    } | {key.replace("__", "."): value for key, value in changes.items()}  # fmt: skip
    sets = [f"--set={key}={value}" for key, value in options.items()]
    return [sys.executable, str(ROOT / "data_prep.py"), *sets]


def run(args: argparse.Namespace, out: Path, **changes: object) -> float:
    started = time.monotonic()
    subprocess.run(command(args, out, **changes), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def digests(folder: Path) -> dict[str, str]:
    """Return a digest of every file but those that runs keep for themselves."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".specmask" not in path.parts
    }


def done(folder: Path) -> int:
    return sum(1 for _ in folder.glob("NoisySpeech_training/noisy*"))


def compare(what: str, found: dict[str, str], expected: dict[str, str]) -> bool:
    same = found == expected
    print(f"{what}: {len(found)} files, {'the same bytes' if same else 'DIFFERENT'}", flush=True)
    return same


def main(args: argparse.Namespace, folder: Path) -> int:
    run(args, folder / "once", compute__workers=1)
    expected = digests(folder / "once")
    seconds = run(args, folder / "two")
    good = [compare("two workers", digests(folder / "two"), expected)]
    rng = random.Random(0)
    counts = []
    for _ in range(args.kills):
        process = subprocess.Popen(
            command(args, folder / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        if rng.random() < 0.25:  # also while it starts
            time.sleep(rng.uniform(0, 0.3 * seconds))
        else:
            wanted = done(folder / "killed") + rng.randint(1, 2 * args.files // args.kills)
            while process.poll() is None and done(folder / "killed") < wanted:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.05))
        kill = rng.choice((os.kill, os.killpg))  # without or with its workers
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            kill(process.pid, signal.SIGKILL)
        process.wait()
        counts.append(done(folder / "killed"))
    print(f"files at the kills: {counts}")
    run(args, folder / "killed")
    good.append(compare(f"{args.kills} kills", digests(folder / "killed"), expected))
    for engine in args.engines:
        run(args, folder / engine, compute__engine=engine)
        good.append(compare(engine, digests(folder / engine), expected))
    run(args, folder / "killed", data__total_training_files=args.files * 6 // 5)
    grown = digests(folder / "killed")
    kept = {name: grown.get(name) for name in expected if name.endswith(".wav")}
    audio = {name: value for name, value in expected.items() if name.endswith(".wav")}
    good.append(compare("grown by a fifth, the earlier ones", kept, audio))
    run(args, folder / "large", data__total_training_files=args.files * 6 // 5, compute__workers=1)
    good.append(compare("grown, all", grown, digests(folder / "large")))
    return 0 if all(good) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path)
    parser.add_argument("noise", type=Path)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--engines", nargs="*", default=[])
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(main(parser.parse_args(), Path(temporary)))
