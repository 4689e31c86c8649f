"""Put the best weights of a run where users find them: pretrained/NAME.*.

    python tools/release.py runs/cp/default [--name default]

The INI holds what the network depends on and nothing of the machine that it was trained on.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from specmask.cli import console  # noqa: E402
from specmask.config import ini as configuration  # noqa: E402
from specmask.config import schema  # noqa: E402
from specmask.config.ini import value_text  # noqa: E402
from specmask.config.types import ini_name  # noqa: E402

PRETRAINED = ROOT / "pretrained"
KEPT = {
    "data": ("sample_rate",),
    "stft": ("window_type", "window_length", "hop_size", "n_fft"),
    "model": None,  # all of it
}


def settings(cfg: schema.Config) -> str:
    """Return an INI of what the network depends on."""
    lines = []
    for section, names in KEPT.items():
        options = getattr(cfg, section)
        lines.append(f"[{ini_name(section)}]")
        for name in names or type(options).model_fields:
            value = value_text(getattr(options, name))
            lines.append(f"{ini_name(name)} = {value}".rstrip())
    return "\n".join(lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("run", type=Path)
    p.add_argument("--name", default="default")
    args = p.parse_args()
    console.import_tensorflow()
    from specmask.enhancement import enhancer
    from specmask.enhancement.postprocess import Knobs
    from specmask.export import formats

    weights, ini = enhancer.weights_and_config(args.run)
    PRETRAINED.mkdir(exist_ok=True)
    kept, own = PRETRAINED / f"{args.name}.npz", PRETRAINED / f"{args.name}.ini"
    shutil.copyfile(weights, kept)
    own.write_text(settings(configuration.load(ini)), encoding="utf-8")
    model = enhancer.load(kept)
    with tempfile.TemporaryDirectory() as temporary, console.quiet():
        formats.export_run(model.runtime, ["onnx", "litert"], Path(temporary), False, Knobs())
        for path in Path(temporary).glob("step.*"):  # the description of LiteRT's too
            shutil.copyfile(path, PRETRAINED / f"{args.name}{path.suffix}")
    for path in sorted(PRETRAINED.glob(f"{args.name}.*")):
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    print(f"weights {model.digest}")


if __name__ == "__main__":
    main()
