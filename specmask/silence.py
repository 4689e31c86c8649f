"""Native libraries without their log lines, which TensorFlow and LiteRT print to stderr."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from specmask.errors import UserError, import_failure


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what libraries write to stderr while the block runs, that of C++ code too."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if sys.stderr:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        if sys.stderr:
            sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def import_tensorflow() -> None:
    """Import TensorFlow without the log lines that it prints while it starts.

    Raises:
        UserError: if it is not installed, or broken.
    """
    try:
        with quiet():
            import tensorflow  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"TensorFlow, for training and exports, {import_failure(error)}; "
            'pip install ".[train]" in the clone'
        ) from None
