"""Specmask: a folder of clean speech and a folder of noise in, a trained speech enhancer out.

model = specmask.load("cp/run")
enhanced = specmask.enhance(samples, rate, model)
stream = specmask.Streamer(model); stream.feed(block); stream.flush()
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Streamer", "enhance", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from specmask.enhancement import array, enhancer, streaming  # only when they are used

        return getattr({"Streamer": streaming, "enhance": array, "load": enhancer}[name], name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
