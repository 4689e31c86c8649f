"""Memory of a training: estimated before the first step, and compared with the machine's.

The step's traced graph is walked in its order. A buffer lives from the operation that writes it to
the last one that reads it; the largest sum of live buffers is what the step needs at once. Added to
that are the memory of the process so far (TensorFlow, weights, optimizer) and the batches read
ahead.
"""

import contextlib
import ctypes
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from specmask.config.schema import Config
from specmask.errors import UserError
from specmask.models.complexity import inner_graph
from specmask.training.batches import AHEAD, READERS, Batches
from specmask.training.step import TrainingStep

PROCESS_BYTES = 750 << 20  # of a process with TensorFlow, where the system does not say
RUNTIME_BYTES = 150 << 20  # of what TensorFlow loads and keeps with the first step
COMPILER_BYTES = 300 << 20  # the same of XLA
HEAP = 1.5  # memory that the allocator holds, relative to what is live: measured

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
LOOPS = {"While", "StatelessWhile"}
BRANCHES = {"If", "StatelessIf"}
# What these return is in the buffer of what they are given.
ALIASES = {
    "Bitcast", "EnsureShape", "ExpandDims", "Identity", "PreventGradient", "ReadVariableOp",
    "Reshape", "Squeeze", "StopGradient",
}  # fmt: skip
LIST_ELEMENT = {"TensorListPushBack": 1, "TensorListSetItem": 2}  # operation -> its input


def estimate(config: Config, step: TrainingStep, batches: Batches) -> int:
    """Return the bytes that a training will take; 0 where other devices than this CPU train.

    The step is traced for the longest batch, and the first step of that length uses the trace.
    """
    if step.replicas > 1 or tf.config.list_physical_devices("GPU"):
        return 0
    specs = batches.specs()
    waiting = (READERS + AHEAD + 1) * sum(math.prod(s.shape) * s.dtype.size for s in specs)
    live = live_bytes(step.graph(specs), batches.frames, _cores())
    compiler = COMPILER_BYTES if config.train.jit_compile else 0
    return _process_bytes() + RUNTIME_BYTES + compiler + waiting + round(HEAP * live)


def check(config: Config, needed: int, parts: int, available: int) -> None:
    """Refuse a training that needs more memory than there is.

    Args:
        config: the configuration.
        needed: bytes, see :func:`estimate`.
        parts: of a batch, computed side by side.
        available: bytes, see :func:`machine_bytes`.
    """
    if needed <= available:
        return
    train = config.train
    crop = f"crop_seconds = {train.crop_seconds:g}"
    raise UserError(
        f"[train] batch_size = {train.batch_size} needs about {needed / 1e9:.1f} GB of memory, but "
        f"only {available / 1e9:.1f} GB are available without swap; lower it or {crop}"
        f"{'' if train.crop_seconds else ' (whole files)'}, raise accumulation = "
        f"{train.accumulation} or parts = {parts}, set precision = mixed_bfloat16, or choose a "
        "smaller network in [model]"
    )


# ---------------------------------------------------------------- the graph


@dataclass
class Buffer:
    """Memory that an operation writes, and the number of the last operation that reads it."""

    size: int
    last: int


def live_bytes(graph: Any, frames: int, cores: int) -> int:
    """Return the largest sum of buffers of a graph that live at the same time.

    Args:
        graph: traced for known shapes.
        frames: runs of the loops over time, which keep something of every run.
        cores: calls of one function, the parts of a batch, run side by side on so many.
    """
    operations = graph.get_operations()
    # Parts with dropout wait for each other, because all of them change the state of its seed.
    calls = Counter(
        op.get_attr("f").name
        for op in operations
        if op.type in CALLS and not any(before.type in CALLS for before in op.control_inputs)
    )
    buffers: dict[Any, Buffer] = {}
    made: list[list[Buffer]] = []
    inside: list[int] = []
    for number, op in enumerate(operations):
        for tensor in op.inputs:
            if tensor.ref() in buffers:
                buffers[tensor.ref()].last = number
        made.append([])
        inside.append(_inside(graph, op, calls, frames, cores))
        kept = _kept_lists(graph, op, frames) if op.type in LOOPS else {}
        for k, tensor in enumerate(op.outputs):
            if op.type in ALIASES:
                source = op.inputs[0].ref()
                if source in buffers:
                    buffers[tensor.ref()] = buffers[source]
            elif op.type != "Placeholder":
                buffers[tensor.ref()] = Buffer(_size(tensor) + kept.get(k, 0), number)
                made[-1].append(buffers[tensor.ref()])
    for tensor in graph.outputs:
        if tensor.ref() in buffers:
            buffers[tensor.ref()].last = len(operations)
    freed = Counter[int]()
    for buffer in (b for some in made for b in some):
        freed[buffer.last] += buffer.size
    live = most = 0
    for number, some in enumerate(made):
        live += sum(b.size for b in some)
        most = max(most, live + inside[number])
        live -= freed[number]
    return most


def _inside(graph: Any, op: Any, calls: Counter[str], frames: int, cores: int) -> int:
    """Return the live bytes of the functions that an operation calls."""
    if op.type in CALLS:
        side_by_side = max(1, min(calls[op.get_attr("f").name], cores))
        return side_by_side * live_bytes(inner_graph(graph, op, "f"), frames, cores)
    names = ["body"] if op.type in LOOPS else []
    names += ["then_branch", "else_branch"] if op.type in BRANCHES else []
    return max((live_bytes(inner_graph(graph, op, n), frames, cores) for n in names), default=0)


def _kept_lists(graph: Any, op: Any, frames: int) -> dict[int, int]:
    """Return the bytes of the lists that a loop adds to in every run, by number of the output.

    What is the same in all runs, such as weights, and what is in two lists takes memory once.
    """
    body = inner_graph(graph, op, "body")
    pairs = zip(body.inputs, body.outputs, strict=False)
    seen = {before.ref() for before, after in pairs if _source(after) is before}
    seen |= {tensor.ref() for tensor in body.inputs if tensor.dtype == tf.resource}
    found = {}
    for k, tensor in enumerate(body.outputs):
        adds = _source(tensor).op
        if adds.type in LIST_ELEMENT:
            element = _source(adds.inputs[LIST_ELEMENT[adds.type]])
            found[k] = 0 if element.ref() in seen else frames * _size(element)
            seen.add(element.ref())
    return found


def _source(tensor: Any) -> Any:
    while tensor.op.type in ALIASES:
        tensor = tensor.op.inputs[0]
    return tensor


def _size(tensor: Any) -> int:
    shape = tensor.shape
    if tensor.dtype in (tf.resource, tf.variant, tf.string) or not shape.is_fully_defined():
        return 0
    return math.prod(shape) * tensor.dtype.size


# ---------------------------------------------------------------- the machine


def machine_bytes() -> int:
    """Return the memory that this process may have: the machine's, or less in a container."""
    return min(_physical_bytes(), *control_group_bytes(Path("/")))


def control_group_bytes(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, of both versions of Linux's.

    Args:
        root: folder of /proc and /sys.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # not visible in a container; max
                yield int((folder / name).read_text())
            if folder == mount:
                break


def _physical_bytes() -> int:
    if sys.platform == "win32":
        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return kilobytes.value << 10 or sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _process_bytes() -> int:
    """Return the memory that this process has now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return PROCESS_BYTES
    return pages * os.sysconf("SC_PAGE_SIZE")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
