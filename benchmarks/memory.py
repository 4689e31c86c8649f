"""Peak memory of one training step of the published network: batch 10 x 3 s, Adam included.

    python benchmarks/memory.py [--config recipes/wilson2018_blstm.ini]

Prints the parameters, the memory with all imports done, and the peak after two steps, in MB
(10^6 bytes), as the operating system counts the process.
"""

import resource
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from specmask.cli import console  # noqa: E402


def peak_mb() -> float:
    """Return the largest resident set of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(args) -> None:
    console.import_tensorflow()
    import tensorflow as tf

    from specmask.audio import stft
    from specmask.config import ini
    from specmask.data import stft_cache
    from specmask.training import batches, trainer

    cfg = ini.load(args.config, args.set)
    tf.config.experimental.enable_op_determinism()
    imported = peak_mb()
    size = cfg.train.batch_size
    samples = round(cfg.data.file_length * cfg.data.sample_rate)
    frames = stft.Stft.from_config(cfg).frames(samples)
    index = np.zeros(size, stft_cache.INDEX)
    index["frames"], index["offset"] = frames, frames * np.arange(size)
    rng = np.random.default_rng(0)
    spectra = rng.standard_normal((size * frames, cfg.bins, 2)).astype(np.float16)
    data = stft_cache.Cache(index, [spectra], [spectra])
    with tempfile.TemporaryDirectory() as folder:
        drawn = batches.Batches(cfg, data)
        run = trainer.Trainer(cfg, Path(folder), drawn, data)
        for _ in range(2):
            run.step(drawn.batch(np.arange(size), 0, 0), rate=1e-4)
    print(f"parameters {run.network.model.count_params()}")
    print(f"imported_mb {imported:.0f}")
    print(f"peak_mb {peak_mb():.0f}")


if __name__ == "__main__":
    parser = console.parser(__doc__)
    parser.set_defaults(config=ROOT / "recipes" / "wilson2018_blstm.ini")
    sys.exit(console.run(measure, parser.parse_args()))
