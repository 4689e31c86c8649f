"""Specmask: speech enhancement with networks trained on your own speech and noise.

model = specmask.load()  # the default model; or load("cp/run")
enhanced = specmask.enhance(samples, rate, model)
stream = specmask.Streamer(model); stream.feed(block); stream.flush()
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specmask.enhancement.array import enhance
    from specmask.enhancement.enhancer import load
    from specmask.enhancement.streaming import Streamer

__version__ = "0.1.0"
__all__ = ["Streamer", "enhance", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # imported on first use: --help is fast without
        from specmask.enhancement import array, enhancer, streaming

        return getattr({"Streamer": streaming, "enhance": array, "load": enhancer}[name], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
