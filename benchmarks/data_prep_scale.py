"""Time and memory of the plan of a very large data set, whose files are not rendered.

    python benchmarks/data_prep_scale.py [--files 1000000] [--sources 100000] [--finished]

Steps, each with its time and the largest memory of the process so far:

    scan        the sources, all known from an earlier scan
    plan        what the folders hold, what is missing, disk space, the line that is printed
    manifest    a row for every file through the real loop, without audio
    resume      the same command over the finished manifest; the folders are empty: all is missing

With --finished, three files a row are made as well: as long as they should be, and sparse. Then
"resume" finds that nothing is to be done. They need three inodes a row and some minutes.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from specmask.config import ini, schema  # noqa: E402
from specmask.data.corpus import scan_cache  # noqa: E402
from specmask.data.mixtures import build, crops, manifest, preflight, render  # noqa: E402
from specmask.data.mixtures.plan import Plan, make_plans  # noqa: E402
from specmask.data.names import mixture_files  # noqa: E402

KIB = 1024
SIZE = build.HEADER_BYTES + 2 * 48000


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the time of the block, that of the processor, and the largest memory so far.

    In seconds and MB of 10^6 bytes.
    """
    started, cpu = time.perf_counter(), time.process_time()
    yield
    unit = 1 if sys.platform == "darwin" else KIB
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{name:10}{wall:8.1f} s{cpu:8.1f} s CPU{peak_mb:8.0f} MB", flush=True)


def make_sources(cfg: schema.Config, count: int) -> None:
    """Make empty recordings, and a scan that knows them as good ones of 12 s."""
    cfg.work_path.mkdir(parents=True)
    with (cfg.work_path / "scan.jsonl").open("w") as store:
        for root, number in (
            (cfg.data.clean_train_path, count),
            (cfg.data.noise_train_path, count // 10),
        ):
            for k in range(number):
                path = root / f"{k % 1000:04d}" / f"{k}.flac"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                facts = {"rate": 16000, "channels": 1, "frames": 192000}
                facts |= {"digest": f"{root.name}{k:012d}", "level_db": -25.0}
                line = [scan_cache.VERSION, str(path), 0, path.stat().st_mtime_ns, facts]
                store.write("\n" + json.dumps(line))


def row(index: int, plan: Plan) -> dict:
    """Return a row as long as a real one, for a file that nobody makes."""
    speech = plan.speech[index * 7919 % len(plan.speech)]
    noise = plan.noise[index * 7919 % len(plan.noise)]
    names = mixture_files(index, float(index % 16), plan.config.data.files_per_folder)
    return dict.fromkeys(render.COLUMNS, "-12.345") | {
        "index": index,
        **{column: names[kind] for kind, column in render.FILES.items()},
        "samples": 48000,
        "sample_rate": 16000,
        "speech": crops.text([crops.Piece(speech, 1000, 48000, 0)]),
        "noise": crops.text([crops.Piece(noise, 1000, 48000, 0)]),
        "clean_digest": "0123456789abcdef",
        "noise_digest": "0123456789abcdef",
    }


def make_files(plan: Plan) -> None:
    """Make sparse files of the right length for every row."""
    for found in manifest.rows(manifest.path_of(plan.config, plan.split)):
        for kind, column in render.FILES.items():
            path = plan.config.stft.folder(kind, plan.split) / found[column]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.truncate(SIZE)


def measure(args: argparse.Namespace, folder: Path) -> None:
    sets = [f"data.{name}_path={folder / name}" for name in ("clean_train", "noise_train")]
    sets += [f"data.data_path={folder / 'data'}", f"data.total_training_files={args.files}"]
    sets += ["data.total_testing_files=0", f"data.files_per_folder={args.files_per_folder}"]
    cfg = ini.load(ROOT / "config.ini", [*sets, "compute.workers=1"])
    make_sources(cfg, args.sources)
    render.render = row
    usage = namedtuple("usage", "total used free")
    shutil.disk_usage = lambda path: usage(10**16, 0, 10**16)  # 10,000 hours need three terabytes
    with step("scan"):
        plan = make_plans(cfg)[0][0]
    with step("plan"), build.alone(cfg):
        print(preflight.plan_line([build.survey(plan)]))
    with step("manifest"):
        build.make(plan)
    print(f"{manifest.path_of(cfg, 'training').stat().st_size / 1e9:.2f} GB of manifest")
    if args.finished:
        with step("(files)"):
            make_files(plan)
    with step("resume"), build.alone(cfg):
        print(preflight.plan_line([build.survey(plan)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--sources", type=int, default=100_000)
    parser.add_argument("--files-per-folder", type=int, default=10_000)
    parser.add_argument("--finished", action="store_true")
    with tempfile.TemporaryDirectory() as temporary:
        measure(parser.parse_args(), Path(temporary))
