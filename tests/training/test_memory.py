"""The announced memory of a training: live buffers, limits of the machine, and the refusal."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import PROJECT_INI, cache_index

from specmask.config import ini as configuration
from specmask.data import stft_cache
from specmask.errors import UserError
from specmask.training import distributed, memory, trainer
from specmask.training.batches import Batches

SIDE = 100
SQUARE = SIDE * SIDE * 4  # bytes


def graph(function):
    return tf.function(function).get_concrete_function(tf.TensorSpec((SIDE, SIDE))).graph


def test_buffers_live_until_they_are_read_for_the_last_time():
    def chain(x):
        for _ in range(5):
            x = tf.reshape(tf.matmul(x, x), (SIDE, SIDE))
        return x

    def kept(x):
        first = tf.matmul(x, x)
        second = tf.matmul(first, first)
        third = tf.matmul(second, second)
        return first @ third

    # A product beside what it is made from; the first of four products lives to the end.
    assert memory.live_bytes(graph(chain), frames=1, cores=1) == 2 * SQUARE
    assert memory.live_bytes(graph(kept), frames=1, cores=1) == 3 * SQUARE


def test_a_loop_keeps_what_its_gradient_needs_of_every_frame():
    """h ← tanh(h W): of every frame h and tanh's value, which is the next frame's h."""
    frames = 50
    weights = tf.Variable(tf.eye(SIDE))

    def loop(x):
        with tf.GradientTape() as tape:
            _, y = tf.while_loop(
                lambda k, h: k < frames, lambda k, h: (k + 1, tf.tanh(h @ weights)), (0, x)
            )
            loss = tf.reduce_sum(y)
        return tape.gradient(loss, weights.handle)

    found = memory.live_bytes(graph(loop), frames, cores=1)
    assert frames * SQUARE <= found <= (2 * frames + 9) * SQUARE


@pytest.mark.parametrize("in_turn", [False, True])
def test_parts_side_by_side_take_memory_each(in_turn):
    state = tf.Variable(0.0)

    @tf.function(experimental_attributes={"_noinline": True})
    def part(x):
        if in_turn:
            state.assign_add(1.0)
        for _ in range(3):
            x = tf.matmul(x, x)
        return tf.reduce_sum(x)

    traced = graph(lambda x: [part(x) for _ in range(4)])
    for cores in (1, 2, 16):
        at_once = 1 if in_turn else min(cores, 4)
        found = memory.live_bytes(traced, frames=1, cores=cores)
        assert 2 * at_once * SQUARE <= found < (2 * at_once + 0.1) * SQUARE


def test_the_smallest_limit_of_the_control_groups_holds(tmp_path):
    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert list(memory.control_group_bytes(tmp_path)) == []
    write("proc/self/cgroup", "0::/user/job\n")
    write("sys/fs/cgroup/user/job/memory.max", "max\n")
    write("sys/fs/cgroup/user/memory.max", "3000\n")
    assert list(memory.control_group_bytes(tmp_path)) == [3000]
    # Version 1; in a container the group's own folder is not visible.
    write("proc/self/cgroup", "7:cpu,cpuacct:/a\n4:hugetlb,memory:/docker/a\n")
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n")
    assert list(memory.control_group_bytes(tmp_path)) == [2000]
    assert 1e8 < memory.machine_bytes() < 1e14


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Settings of a training of random spectra."""
    (tmp_path / "config.ini").write_text(PROJECT_INI, encoding="utf-8")
    cfg = configuration.load(tmp_path / "config.ini", ["data.total_validation_files=0"])
    data = np.zeros((12 * 40, cfg.bins, 2), np.float16)
    cache = stft_cache.Cache(cache_index(), [data], [data])
    monkeypatch.setattr(stft_cache, "load", lambda *_: cache)
    return cfg


def test_a_training_above_the_memory_is_refused_before_it_leaves_anything(config, monkeypatch):
    monkeypatch.setattr(memory, "machine_bytes", lambda: 100_000_000)
    expected = (
        r"\[train\] batch_size = 4 needs about \d\.\d GB of memory, but only 0\.1 GB are available "
        r"without swap; lower it or crop_seconds = 0 \(whole files\), raise accumulation = 1 or "
        r"parts = 4, set precision = mixed_bfloat16, or choose a smaller network in \[model\]"
    )
    with pytest.raises(UserError, match=expected):
        trainer.train(config)
    assert not list(config.train.checkpoint_path.iterdir())


def test_the_step_uses_the_trace_of_the_estimate(config, tmp_path):
    batches = Batches(config, stft_cache.load(config, "training"))
    run = trainer.Trainer(config, tmp_path, batches, None)
    estimate = memory.estimate(config, run.step, batches)
    assert estimate > memory.RUNTIME_BYTES + 2 * distributed.parts(config.train)
    for batch in batches.epoch(0):
        run.step(batch, rate=1e-3)
    assert run.step._compiled.experimental_get_tracing_count() == 1
