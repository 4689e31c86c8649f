"""Recurrent layers against those of Keras, their gradients against automatic differentiation."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from specmask.models.recurrent import LSTM, BandGRU, GRUCell, LSTMCell, OverTime


@pytest.mark.parametrize("backwards", [False, True])
def test_lstm_equals_keras_lstm(backwards):
    keras.utils.set_random_seed(0)
    data = np.random.default_rng(0).standard_normal((2, 11, 5)).astype(np.float32)
    own = LSTM(4, backwards)
    own(data)
    theirs = keras.layers.LSTM(4, return_sequences=True, go_backwards=backwards)
    theirs(data)
    kernel, recurrent, bias = theirs.get_weights()
    by_shape = {(5, 16): kernel, (4, 16): recurrent, (16,): bias}
    for weight in own.trainable_variables:
        weight.assign(by_shape[tuple(weight.shape)])
    wanted = ops.convert_to_numpy(theirs(data))
    np.testing.assert_allclose(own(data)[0], wanted[:, ::-1] if backwards else wanted, atol=1e-6)


def test_gru_equals_keras_gru_on_every_band():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).standard_normal((2, 9, 3, 5)).astype(np.float32)
    own = BandGRU(4)
    own(x, np.zeros((2, 3, 4), np.float32))
    theirs = keras.layers.GRU(4, return_sequences=True, reset_after=True)
    theirs(x[:, :, 0])
    kernel, recurrent, bias = theirs.get_weights()
    bias[1, 8:] = 0.3  # of the candidate's recurrent product; the two others add to those of x
    theirs.set_weights([kernel, recurrent, bias])
    own.project.set_weights([kernel, bias[0] + np.r_[bias[1, :8], np.zeros(4)]])
    own.rnn.cell.recurrent_kernel.assign(recurrent)
    own.rnn.cell.bias.assign(bias[1, 8:])
    got, state = own(x, np.zeros((2, 3, 4), np.float32))
    for band in range(3):
        wanted = ops.convert_to_numpy(theirs(x[:, :, band]))
        np.testing.assert_allclose(got[:, :, band], wanted, atol=1e-6)
        np.testing.assert_allclose(state[:, band], wanted[:, -1], atol=1e-6)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind, gates, states", [(LSTMCell, 4, 2), (GRUCell, 3, 1)])
def test_gradients_equal_those_of_frame_by_frame(kind, gates, states, jit):
    """By automatic differentiation of the cell's form for one frame."""
    rng = np.random.default_rng(0)
    layer = OverTime(cell := kind(4))
    layer.build((None, None, 4 * gates))
    for weight in cell.weights:
        weight.assign(rng.standard_normal(weight.shape))
    inputs = [rng.standard_normal(s).astype(np.float32) for s in [(3, 7, 4 * gates)]]
    inputs += [rng.standard_normal((3, 4)).astype(np.float32) for _ in range(states)]
    of_y, of_end = (rng.standard_normal(s).astype(np.float32) for s in [(3, 7, 4), (states, 3, 4)])

    trained = functools.partial(layer, training=True)

    def frame_by_frame(x, *state):
        frames = []
        for t in range(x.shape[1]):
            state = cell(x[:, t], *state)
            frames.append(state[0])
        return tf.stack(frames, axis=1), *state

    def results(call):
        def run(*inputs):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                y, *end = call(*inputs)
                loss = tf.reduce_sum(y * of_y) + tf.reduce_sum(tf.stack(end) * of_end)
            sources = [*inputs, *(w.value for w in cell.weights)]
            return [y, *end, *tape.gradient(loss, sources)]

        open_shapes = [tf.TensorSpec((*[None] * (x.ndim - 1), x.shape[-1])) for x in inputs]
        signature = open_shapes if call is trained else None
        return tf.function(run, input_signature=signature, jit_compile=jit)(*inputs)

    for got, wanted in zip(results(trained), results(frame_by_frame), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
