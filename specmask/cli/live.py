"""Enhance the microphone and play it, live; Enter switches the bypass, q and Enter ends.

Needs the extra live, and a causal network; without a run of your own the default model is used.

examples:
  python live.py --devices
  python live.py --input 1 --output 3 --model cp/run --max-suppression 12
"""

import argparse
import sys
from collections.abc import Sequence

from specmask.cli import console, enhance


def listen(args: argparse.Namespace) -> None:
    from specmask.config import ini
    from specmask.enhancement import live

    if args.devices:
        print(live.devices())
        return
    cfg = ini.load(args.config, args.set)
    from specmask.enhancement import enhancer

    model, path = enhancer.from_config(cfg)
    session = live.Live(model)
    print(f"weights of {path} in {model.runtime.name}; Enter: bypass on or off; q and Enter: end")
    session.run(sys.stdin, sys.stdout, (args.input, args.output))
    block = 1000 * session.block / session.rate
    if session.streamer.replaced:
        print(f"warning: {session.streamer.replaced} samples were not finite, taken as silence")
    print(
        f"latency {1000 * session.latency_seconds:.0f} ms without that of the devices; slowest "
        f"block {1000 * session.slowest_seconds:.1f} of {block:.0f} ms; {session.underruns} "
        "underruns"
    )


def device(text: str) -> int | str:
    """Return a device's number, or a part of its name."""
    return int(text) if text.isdigit() else text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = console.parser(__doc__)
    parser.add_argument("--devices", action="store_true", help="list the audio devices")
    parser.add_argument("--input", type=device, help="number or name (default: the system's)")
    parser.add_argument("--output", type=device, help="number or name (default: the system's)")
    enhance.add_flags(parser, [flag for flag in enhance.FLAGS if flag[0] != "--format"])
    return console.run(listen, parser.parse_args(argv))
