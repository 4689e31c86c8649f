"""The STFT cache on disk: clean and noise spectra in memory maps, and batches drawn from them.

Layout of ``Training_STFT/`` (and so for the other splits):
    clean.npy, noise.npy    float16 [frames of all files, bins, 2] (real, imaginary); beyond
                            2 GiB more shards follow: clean_1.npy, noise_1.npy, ...
    index.npy               one record per file: its position, its length and its levels
    cache.json              the settings and the manifest that the cache was made from; written
                            last, so a cache without it is not finished
    .specmask/lock          held while it is made

The noisy spectrum is not stored: the transform is linear, so noisy = clean + noise. For the
same reason a clean file can be mixed with the noise of another file at any gain.
"""

import hashlib
import itertools
import json
import math
import os
import re
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files, parallel
from specmask.audio.io import AudioError, read
from specmask.audio.stft import Stft, forward, to_pairs
from specmask.config.schema import Config
from specmask.data.mixtures import manifest
from specmask.errors import UserError
from specmask.files import parse_json
from specmask.progress import Progress

FORMAT = 1
SHARD_BYTES = 2 << 30
FILES_AT_ONCE = 1024  # rows of the manifest in memory at a time
ALIGNMENT = 64  # bytes, of the tensors of TensorFlow
DAMAGE = (OSError, ValueError, IndexError, KeyError, EOFError)  # raised by opening a damaged .npy
_SHARD = re.compile(r"(clean|noise)(_\d+)?\.npy")
INDEX = np.dtype(
    [
        ("shard", "<i4"),
        ("offset", "<i8"),
        ("frames", "<i4"),
        ("samples", "<i8"),
        ("snr_db", "<f4"),
        ("clean_level_db", "<f4"),
        ("noise_level_db", "<f4"),
        ("additive", "?"),
    ]
)


def facts(config: Config, split: str) -> dict[str, Any]:
    """Return the settings and the digest of the manifest that a cache of this configuration has."""
    return {
        "format": FORMAT,
        "sample_rate": config.data.sample_rate,
        **asdict(Stft.from_config(config)),
        "manifest": files.digest(manifest.path_of(config, split)),
    }


def build(config: Config, split: str) -> tuple[int, int, bool]:
    """Make the cache of a split, unless it is up to date.

    Returns:
        number of files, size in bytes, and whether the cache was made.

    Raises:
        UserError: if the data set is missing, stale or damaged, or another process makes the cache.
    """
    manifest.stream(config, split)  # refuses a data set of other settings
    folder, wanted = config.stft.cache(split), facts(config, split)
    if _read_facts(folder) == wanted and _is_whole(folder):
        return len(_open(folder).index), _size(folder), False
    _check_folder(folder)
    with files.held(folder):
        index = _write(config, split, folder, wanted)
    return len(index), _size(folder), True


def outdated(config: Config, split: str) -> str:
    """Return what differs between an existing cache and the configuration and data set."""
    found = _read_facts(config.stft.cache(split))
    return manifest.changed(found, facts(config, split)) if found else ""


def _write(config: Config, split: str, folder: Path, facts: dict[str, Any]) -> np.ndarray:
    """Write a cache from the start, cache.json last, and return its index."""
    (folder / "cache.json").unlink(missing_ok=True)
    for old in [*_shards(folder), *folder.glob(".specmask-*")]:
        old.unlink()
    stft = Stft.from_config(config)
    index = _layout(manifest.stream(config, split), stft)
    rows = manifest.stream(config, split)
    with Progress(len(index), f"stft {split}", unit="file") as progress:
        for shard in range(index["shard"].max() + 1):
            _write_shard(config, split, rows, index, shard, stft, progress)
    with files.replacing(folder / "index.npy") as temporary:
        np.save(temporary, index)
    with files.replacing(folder / "cache.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    return index


def _shards(folder: Path) -> list[Path]:
    """Return the files in a folder that have the names of shards."""
    return sorted(p for p in folder.glob("*.npy") if _SHARD.fullmatch(p.name))


def _check_folder(folder: Path) -> None:
    """Check that a cache would not replace arrays of the user in its folder.

    A cache whose making was killed has no cache.json; its shards are known by their type.

    Raises:
        UserError: if it would.
    """
    if _read_facts(folder) is not None:
        return
    for path in [*_shards(folder), *folder.glob("index.npy")]:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            ours = array.dtype == INDEX or (
                array.dtype == np.float16 and array.ndim == 3 and array.shape[2] == 2
            )
        except DAMAGE:
            ours = False
        if not ours:
            raise UserError(
                f"{path}: not part of an STFT cache, which would replace it; move it, or name "
                "another folder in [STFT] ..._STFT_dir"
            )


def _layout(rows: Iterator[manifest.Row], stft: Stft) -> np.ndarray:
    """Return the record of every row, in the order of the fields of ``INDEX``."""

    def records() -> Iterator[tuple]:
        shard_frames = max(1, SHARD_BYTES // (stft.bins * 2 * 2))
        shard = offset = 0
        for row in rows:
            samples = int(row["samples"])
            frames = stft.frames(samples)
            if offset and offset + frames > shard_frames:
                shard, offset = shard + 1, 0
            levels_db = (float(row[n]) for n in ("snr_db", "clean_level_db", "noise_level_db"))
            yield shard, offset, frames, samples, *levels_db, row["additive"] == "yes"
            offset += frames

    return np.fromiter(records(), INDEX)


def _write_shard(
    config: Config,
    split: str,
    rows: Iterator[manifest.Row],
    index: np.ndarray,
    shard: int,
    stft: Stft,
    progress: Progress,
) -> None:
    """Write the spectra of the next rows, as many as a shard has."""
    folder = config.stft.cache(split)
    members = index[index["shard"] == shard]
    shape = (int(members["frames"].sum()), stft.bins, 2)
    kinds = {"clean": ("CleanSpeech", "clean_file"), "noise": ("Noise", "noise_file")}
    paths = {k: folder / f".specmask-{k}-{shard}.npy" for k in kinds}
    maps = {k: _new_map(p, shape) for k, p in paths.items()}

    def write_spectra(record: np.void, row: manifest.Row) -> None:
        frames = slice(record["offset"], record["offset"] + record["frames"])
        for k, (kind, column) in kinds.items():
            path = config.stft.folder(kind, split) / row[column]
            maps[k][frames] = _spectrum(path, int(record["samples"]), config, stft)

    # Threads: reading and scipy.fft release the interpreter lock, and the map is shared.
    with ThreadPoolExecutor(parallel.worker_count(config.compute.workers)) as pool:
        for start in range(0, len(members), FILES_AT_ONCE):
            some = members[start : start + FILES_AT_ONCE]
            for _ in pool.map(write_spectra, some, itertools.islice(rows, len(some))):
                progress.update(1)
    for k, path in paths.items():
        maps.pop(k).flush()
        os.replace(path, folder / _shard_name(k, shard))


def _new_map(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """Make a float16 map with all of its space on disk.

    A sparse file on a full disk would end the process by a bus error.
    """
    array = np.lib.format.open_memmap(path, "w+", dtype=np.float16, shape=shape)
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _spectrum(path: Path, samples: int, config: Config, stft: Stft) -> np.ndarray:
    try:
        x, rate = read(path)
    except AudioError as error:
        raise UserError(f"{path}: {error}; run python data/data_prep.py --overwrite") from None
    if x.shape != (samples, 1) or rate != config.data.sample_rate:
        raise UserError(
            f"{path}: {x.shape[0]} samples, {x.shape[1]} channels, {rate} Hz, expected {samples}, "
            f"1, {config.data.sample_rate} Hz; run python data/data_prep.py --overwrite"
        )
    return to_pairs(forward(x[:, 0], stft)).astype(np.float16)


def _shard_name(kind: str, shard: int) -> str:
    return f"{kind}.npy" if shard == 0 else f"{kind}_{shard}.npy"


def _read_facts(folder: Path) -> dict[str, Any] | None:
    try:
        found = parse_json((folder / "cache.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("*.npy"))


class _BatchMemory:
    """Memory of batches that are gone, for the next ones.

    The pages of fresh memory cost several times the copy that fills them. TensorFlow uses aligned
    memory as it is, and keeps the array until the batch is gone.
    """

    def __init__(self) -> None:
        self.free: list[np.ndarray] = []  # bytes; appending and removing are safe among threads

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a float16 array of any content."""
        size = 2 * math.prod(shape)
        block = self._block(size + ALIGNMENT)
        # A view's base is its first array; that of a memoryview is an array of its own. It lives
        # as long as any view of it.
        array = np.frombuffer(block.data, np.uint8)
        weakref.finalize(array, self.free.append, block).atexit = False
        start = -array.ctypes.data % ALIGNMENT
        return array[start : start + size].view(np.float16).reshape(shape)

    def _block(self, size: int) -> np.ndarray:
        """Return a free block, or a new one in place of those that are too small."""
        while self.free:
            try:
                block = self.free.pop()
            except IndexError:  # another thread was first
                break
            if block.nbytes >= size:
                return block
        return np.empty(size, np.uint8)


_BATCH_MEMORY = _BatchMemory()


@dataclass(frozen=True)
class Cache:
    """A finished cache: the index and the memory maps of its shards."""

    index: np.ndarray
    clean: list[np.ndarray]
    noise: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def digest(self) -> str:
        """Digest of the index, which identifies the data set: lengths, levels and SNRs of files."""
        return hashlib.blake2b(self.index.tobytes(), digest_size=12).hexdigest()

    def gather(self, kind: str, items: np.ndarray) -> np.ndarray:
        """Return float16 [items, frames, bins, 2] of ``clean`` or ``noise``.

        Shorter files are padded with zeros to the longest one.
        """
        frames = int(self.index["frames"][items].max())
        return self.crops(kind, items, np.zeros(len(items), int), frames)

    def crops(
        self,
        kind: str,
        items: np.ndarray,
        starts: np.ndarray,
        frames: int,
        wrap: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return float16 [items, frames, bins, 2] of ``clean`` or ``noise``.

        Args:
            kind: clean or noise.
            items: [items], numbers of files.
            starts: [items], first frame of each.
            frames: number of frames.
            wrap: bool [items], whether the file is repeated beyond its end; zeros follow if not.
        """
        shards = getattr(self, kind)
        out = _BATCH_MEMORY.take((len(items), frames, *shards[0].shape[1:]))
        repeats = np.zeros(len(items), bool) if wrap is None else wrap
        for row, r, start, repeat in zip(out, self.index[items], starts, repeats, strict=True):
            shard, offset, length = shards[r["shard"]], int(r["offset"]), int(r["frames"])
            done, begin = 0, int(start)
            while done < frames:
                count = min(frames - done, length - begin)
                row[done : done + count] = shard[offset + begin : offset + begin + count]
                done, begin = done + count, 0
                if not repeat:
                    break
            row[done:] = 0
        return out


def load(config: Config, split: str) -> Cache:
    """Open the cache of a split.

    Raises:
        UserError: if it is missing, or does not fit the configuration or the data set.
    """
    folder = config.stft.cache(split)
    found = _read_facts(folder)
    if found is None:
        raise UserError(f"{folder}: no STFT cache; make it with python stft.py")
    manifest.stream(config, split)  # refuses a data set of other settings
    changed = manifest.changed(found, facts(config, split))
    if changed:
        raise UserError(f"{folder}: stale cache ({changed}); make it again with python stft.py")
    try:
        return _open(folder)
    except DAMAGE as error:
        raise UserError(
            f"{folder}: damaged cache ({error}); make it again with python stft.py"
        ) from None


def _open(folder: Path) -> Cache:
    index = np.load(folder / "index.npy", mmap_mode="r", allow_pickle=False)
    if index.dtype != INDEX or index.ndim != 1:
        raise ValueError(f"index.npy is {index.dtype}, {index.shape}")
    index = np.array(index)
    if min(index["shard"].min(), index["offset"].min(), index["frames"].min() - 1) < 0:
        raise ValueError("index.npy names positions before the first frame, or no frames")
    count = int(index["shard"].max()) + 1
    shards = {
        kind: [
            # as plain arrays: parts of a np.memmap take four times as long
            np.asarray(np.load(folder / _shard_name(kind, s), mmap_mode="r", allow_pickle=False))
            for s in range(count)
        ]
        for kind in ("clean", "noise")
    }
    for kind, arrays in shards.items():
        rows = np.array([len(array) for array in arrays])
        if not (index["offset"] + index["frames"] <= rows[index["shard"]]).all():
            raise ValueError(f"index.npy names frames that {kind} does not have")
    return Cache(index, **shards)


def _is_whole(folder: Path) -> bool:
    try:
        _open(folder)
    except DAMAGE:
        return False
    return True
