"""Exports equal the Keras model, in runtimes without TensorFlow."""

import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import soundfile as sf
from helpers import (
    ROOT,
    SMALL_8K,
    assert_error_line,
    call_script,
    causal_networks,
    damage,
    error_db,
    make_run,
    white_noise,
    write_audio,
)

from specmask import files, models
from specmask.audio.stft import Stft, analyse, overlap_add
from specmask.cli import export as script
from specmask.config import ini as configuration
from specmask.config import schema
from specmask.enhancement import array, enhancer, keras_runtime, postprocess, runtimes
from specmask.errors import UserError
from specmask.export import check, formats, onnx_graph, step, whole
from specmask.models.features import FEATURES

TOLERANCE = 1e-4


def small(*options: str) -> schema.Config:
    return configuration.load(ROOT / "config.ini", [*SMALL_8K, *options])


def noisy(frames: int, bins: int = 129) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, frames, bins, 2)).astype(np.float32)


# ---------------------------------------------------------------- the step of every network


@pytest.fixture(scope="module", params=causal_networks())
def steps(request, tmp_path_factory):
    """A network, and the folder of its steps."""
    pytest.importorskip("onnx", reason="needs the extra export")
    folder = tmp_path_factory.mktemp(request.param)
    cfg = small(f"model.network={request.param}")
    keras.utils.set_random_seed(0)
    network = models.build(cfg)
    made = step.step_model(network)
    description = keras_runtime.describe(cfg, network, "of nothing")
    formats.write_onnx(made, folder / "step.onnx", description)
    formats.write_litert(made, folder / "step.tflite", description)
    return network, folder


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
def test_steps_equal_the_network(steps, name):
    network, folder = steps
    x = noisy(70)  # more than the state of any layer reaches back
    wanted, _ = network(x, network.zero_state(2))
    exported = runtimes.load(folder / name)
    state, parts = exported.zero_state(2), []
    for start, stop in ((0, 1), (1, 30), (30, 70)):
        part, state = exported.mask(x[:, start:stop], state)
        parts.append(part)
    np.testing.assert_allclose(np.concatenate(parts, 1), wanted, atol=TOLERANCE)
    assert check.ms_per_frame(exported, frames=2, repeats=1) > 0


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
def test_exports_carry_their_description(steps, name):
    found = runtimes.load(steps[1] / name).description
    assert (found.sample_rate, found.digest, found.causal) == (8000, "of nothing", True)
    assert (found.stft.window_length, found.stft.hop_length, found.stft.n_fft) == (200, 80, 256)
    assert found.states["level_state"] == [2]
    assert runtimes.Description.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    "network, target",
    [("band_lstm", "magnitude_mapping"), ("conv_lstm", "noise_db")],
)
def test_steps_of_every_feature(tmp_path, network, target):
    pytest.importorskip("onnx", reason="needs the extra export")
    options = f"model.network={network}", f"model.target={target}", "model.delta_phase=both"
    cfg = small(
        *options,
        f"model.features={','.join(FEATURES)}",
        "model.lookahead_ms=20",
        "model.low_hz=100",
    )
    rng = np.random.default_rng(0)
    network = models.build(cfg)
    for weight in network.model.weights:
        weight.assign(weight + rng.normal(0, 0.05, weight.shape))
    made = step.step_model(network)
    description = keras_runtime.describe(cfg, network, "of nothing")
    formats.write_onnx(made, tmp_path / "step.onnx", description)
    exported, x = runtimes.load(tmp_path / "step.onnx"), noisy(9)
    wanted, _ = network(x, network.zero_state(2))
    found, _ = exported.mask(x, exported.zero_state(2))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=TOLERANCE)


def test_operations_without_a_writer_are_named():
    pytest.importorskip("onnx", reason="needs the extra export")
    x = keras.Input(batch_shape=(1, 4), name="noisy")
    model = keras.Model(x, keras.ops.erf(x))
    with pytest.raises(RuntimeError, match=r"the operation Erf of TensorFlow.*onnx_operations"):
        onnx_graph.model_of(model, [keras.InputSpec(dtype="float32", shape=(1, 4), name="noisy")])


def test_other_files_are_refused(tmp_path):
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    for name in ("a.onnx", "a.txt"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(UserError, match="a.onnx" if name == "a.onnx" else "expected"):
            runtimes.load(tmp_path / name)
    with pytest.raises(UserError, match="expected"):
        runtimes.load(tmp_path / "none.onnx")


def test_networks_that_are_not_causal_have_no_step():
    with pytest.raises(UserError, match="not causal"):
        step.step_model(models.build(small("model.bidirectional=yes")))


# ---------------------------------------------------------------- the whole chain in one graph


@pytest.mark.parametrize("window, n_fft", [("hann", 256), ("cosine", 201), ("hamming", 200)])
def test_matrices_are_the_transform(window, n_fft):
    stft = Stft(window, 200, 80, n_fft)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200).astype(np.float32)
    pairs = (x @ whole.analysis_matrix(stft)).reshape(-1, 2)
    wanted = analyse(x, stft)[0]
    np.testing.assert_allclose(pairs[:, 0] + 1j * pairs[:, 1], wanted, atol=1e-4)
    back = pairs.ravel() @ whole.synthesis_matrix(stft)
    np.testing.assert_allclose(back, overlap_add(wanted[None], stft), atol=1e-5)


def test_the_knobs_of_a_whole_model_are_those_of_a_stream():
    """Masks of zero too: the attenuation limit gives them a phase of zero."""
    rng = np.random.default_rng(0)
    mask = rng.uniform(0, 2, 99) * np.exp(2j * np.pi * rng.uniform(size=99))
    mask[:9] *= 1e-3
    mask[9:20] = 0
    knobs = postprocess.Knobs(max_suppression_db=12, mix=0.8, post_gain_db=-3)
    found = whole.apply_knobs(np.stack([mask.real, mask.imag], -1).astype("f"), knobs)
    wanted = knobs.apply(mask.astype("F"))
    np.testing.assert_allclose(np.asarray(found).view("F").ravel(), wanted, atol=1e-6)


@pytest.mark.parametrize("options", [[], ["model.bidirectional=yes"]])
def test_whole_model_equals_the_enhancer(tmp_path, options):
    run = make_run(tmp_path, *options)
    sound = postprocess.Knobs(max_suppression_db=3, mix=0.7, post_gain_db=-6)
    model = enhancer.load(run, knobs=sound)
    found = whole.whole_model(model.runtime.network, model.stft, sound)
    for samples in (1, 80, 5003):
        x = white_noise(samples)
        y = np.asarray(found(x[None]))[0]
        np.testing.assert_allclose(y, array.enhance(x, 8000, model), atol=1e-5)


@pytest.mark.parametrize(
    "option", ["network=unet", "network=autoencoder", "network=crn", "bidirectional=yes"]
)
def test_whole_models_are_exported_for_every_length(tmp_path, option):
    pytest.importorskip("onnx", reason="needs the extra export")
    options = "levels=3", "window_frames=8", "conv_channels=2", "attention_heads=2"
    run = make_run(tmp_path, *(f"model.{text}" for text in (option, *options)))
    model = enhancer.load(run)
    cfg = configuration.load(run / "config.ini")
    made = whole.whole_model(model.runtime.network, model.stft, postprocess.Knobs())
    description = keras_runtime.describe(cfg, model.runtime.network, "of nothing")
    formats.write_onnx(made, tmp_path / "whole.onnx", description)
    session = runtimes.session(tmp_path / "whole.onnx")
    for samples in (1, 640, 5003):
        x = white_noise(samples)
        (y,) = session.run(None, {session.get_inputs()[0].name: x[None]})
        np.testing.assert_allclose(y[0], array.enhance(x, 8000, model), atol=TOLERANCE)


# ---------------------------------------------------------------- the scripts


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run with all its exports, made by the script; its INI file and a noisy recording."""
    pytest.importorskip("onnx", reason="needs the extra export")
    folder = tmp_path_factory.mktemp("all of them")
    run = make_run(folder)
    write_audio(folder / "noisy" / "a.wav", white_noise(9000), 8000)
    write_audio(folder / "noisy" / "b.wav", white_noise(5000, 1), 8000)
    ini = folder / "config.ini"
    # a test set, whose clean files are not those of the recordings
    clean = configuration.load(ini).stft.folder("CleanSpeech", "testing")
    write_audio(clean / "other.wav", white_noise(900), 8000)
    options = ["--config", ini, "--noisy", folder / "noisy", "--set", "enhance.mix=0.8", "--int8"]
    result = call_script("export.py", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert_error_line(call_script("export.py", *options, cwd=folder), "--overwrite")
    return ini, run


def test_parity_report(exported):
    rows = {r["name"]: r for r in json.loads((exported[1] / "exports/parity.json").read_text())}
    floats = {"step.onnx", "whole.onnx", "step.tflite", "saved_model"}
    assert rows.keys() == floats | {"step_int8.onnx", "step_int8.tflite"}
    for name, row in rows.items():
        assert row["difference"] < (TOLERANCE if name in floats else 0.1), name
        assert row["megabytes"] > 0 and row["real_time_factor"] > 0
    assert rows["step_int8.tflite"]["difference"] > rows["step.tflite"]["difference"]
    assert "step_int8.onnx" in (exported[1] / "exports/parity.md").read_text()


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_sources_in_c(exported, tmp_path, monkeypatch):
    """Built and compared; where there is no compiler, the report says so."""
    ini, run = exported
    options = ["--config", ini, "--noisy", ini.parent / "noisy", "--checkpoint", run]
    options += ["--set", "enhance.mix=0.8", "--format", "c,ladspa", "--output", tmp_path]
    for compiler in ("cc", "none"):
        monkeypatch.setenv("CC", compiler)
        result = call_script("export.py", *options, "--overwrite", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        c, plugin = json.loads((tmp_path / "parity.json").read_text())
        if compiler == "cc":
            assert c["name"] == "c" and c["difference"] < TOLERANCE and c["real_time_factor"] > 0
            if shutil.which("applyplugin"):
                assert plugin["name"] == "ladspa" and plugin["difference"] < TOLERANCE
        else:
            for row in (c, plugin):
                assert "(not compared: no none)" in row["name"] and row["difference"] is None
    assert "no none" in (tmp_path / "parity.md").read_text()


def test_nothing_is_replaced_unasked_and_no_option_ignored(exported, tmp_path, capsys):
    ini, run = exported
    windowed = make_run(tmp_path / "windowed", "model.network=unet")
    (tmp_path / "out" / "web").mkdir(parents=True)
    (tmp_path / "out" / "web" / "index.html").write_text("mine")
    common = ["--config", str(ini), "--noisy", str(ini.parent / "noisy")]
    common += ["--output", str(tmp_path / "out")]
    for checkpoint, options, words in (
        (run, ["--format", "c,web"], "holds web; --overwrite"),
        (run, ["--format", "c", "--clean", "wrong"], "--clean wrong: no such folder"),
        (run, ["--format", "c", "--int8"], "--int8: no effect on --format c"),
        (windowed, ["--format", "onnx,c"], "not causal and has no step"),
        (windowed, ["--format", "litert"], "expected onnx or savedmodel"),
    ):
        arguments = [*common, "--checkpoint", str(checkpoint), *options]
        assert script.main(arguments) == 2
        assert words in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "out").rglob("*") if p.is_file()] == ["index.html"]


def test_the_default_model_is_exported_from_its_weights(exported, tmp_path):
    """By its name, and where enhance.py would take it: then its path is that of an export."""
    ini, run = exported
    options = ["--config", ini, "--noisy", ini.parent / "noisy", "--files", 1, "--format", "litert"]
    options += ["--set", f"train.checkpoint_path={tmp_path / 'no runs'}"]
    for words in ([], ["--checkpoint", "default"]):
        out = tmp_path / f"out{len(words)}"
        result = call_script("export.py", *options, *words, "--output", out, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        default = enhancer.default_model("tensorflow")
        assert f"weights default.npz, {files.digest(default)}" in result.stdout
        assert enhancer.opened_export(out / "step.tflite", default)
    words = ["--checkpoint", run / "exports/step.onnx"]
    assert_error_line(call_script("export.py", *options, *words, cwd=tmp_path), "the run folder")


def test_a_run_whose_export_is_incomplete_is_enhanced_without_it(exported, tmp_path):
    """A kill between the two files of a step leaves the first alone."""
    shutil.copytree(exported[1], tmp_path / "run")
    assert enhancer.load(tmp_path / "run").runtime.name == "LiteRT"
    (tmp_path / "run" / "exports" / "step.json").unlink()
    (tmp_path / "run" / "exports" / "step.onnx").write_bytes(b"half")
    assert enhancer.load(tmp_path / "run").runtime.name == "TensorFlow"


def test_recordings_to_compare_on(tmp_path):
    write_audio(tmp_path / "a.wav", white_noise(900), 8000)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    assert check.find_pairs(tmp_path, tmp_path / "none", 5) == [(tmp_path / "a.wav", None)]
    damage(tmp_path / "a.wav", "NaN")
    with pytest.raises(UserError, match=r"a\.wav: holds NaN or infinite samples; remove it"):
        check.read_beginning(tmp_path / "a.wav", 8000)
    (tmp_path / "a.wav").unlink()
    with pytest.raises(UserError, match="no recordings to compare on"):
        check.find_pairs(tmp_path, tmp_path / "none", 5)


def test_a_wrong_export_is_noticed():
    row = check.Row("step.onnx", 1, float("nan"), None, None, None, 1)
    assert check.differing([row]) and not check.differing([check.Row("a", 1, 1e-5, 0, 0, 1, 1)])


def test_an_export_that_gives_nan_on_one_recording(tmp_path, monkeypatch):
    """The largest difference is NaN, on whichever recording it is."""
    paths = [write_audio(tmp_path / f"{k}.wav", white_noise(900, k), 8000) for k in range(3)]
    bad = iter([1, 1, np.nan, 1])  # the first call is of no recording
    monkeypatch.setattr(check, "_open", lambda *_: (lambda x: x * next(bad), None))
    monkeypatch.setattr(array, "enhance", lambda x, *_: x)
    model = SimpleNamespace(rate=8000, knobs=postprocess.Knobs())
    rows = check.compare([tmp_path / "step_int8.onnx"], model, paths, [None] * 3)
    assert [line.split(",")[0] for line in check.differing(rows)] == [
        "step_int8.onnx: differs by nan"
    ]


@pytest.mark.parametrize("program, model", [("onnx", "step.onnx"), ("litert", "step.tflite")])
def test_examples_do_without_specmask(exported, tmp_path, program, model):
    ini, run = exported
    source, target = ini.parent / "noisy" / "a.wav", tmp_path / "out.wav"
    script = ROOT / "examples" / f"{program}_wav.py"
    assert len(script.read_text().splitlines()) <= 70
    command = [sys.executable, script, run / "exports" / model, source, target]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    x, y = sf.read(source, dtype="float32")[0], sf.read(target)[0]
    wanted = array.enhance(
        x, 8000, enhancer.load(run, knobs=postprocess.Knobs(mix=0.8), runtime="tensorflow")
    )
    np.testing.assert_allclose(y, wanted, atol=1.5 * 2**-15)


WITHOUT_TENSORFLOW = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print(end.code, sorted({"tensorflow", "keras"}.intersection(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("runtime", ["onnx", "auto"])
def test_exports_of_a_run_are_used_without_tensorflow(exported, tmp_path, runtime):
    ini, _ = exported
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, ROOT / "enhance.py", "--config", ini]
    command += [ini.parent / "noisy", tmp_path / runtime, "--runtime", runtime]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "0 []\n", done.stderr
    assert "Enhanced 2 files" in done.stdout
    again = call_script(
        "enhance.py",
        "--config",
        ini,
        ini.parent / "noisy",
        tmp_path / "tf",
        "--runtime",
        "tensorflow",
        cwd=tmp_path,
    )
    assert again.returncode == 0
    for name in ("a.wav", "b.wav"):
        a, b = sf.read(tmp_path / runtime / name)[0], sf.read(tmp_path / "tf" / name)[0]
        assert error_db(a, b) < -70


def test_an_export_of_older_weights_is_refused(exported, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(exported[1], run)
    model = enhancer.load(run, runtime="onnx")
    assert model.digest == enhancer.load(run, runtime="tensorflow").digest
    assert isinstance(enhancer.load(run).runtime, runtimes.LiteRt)
    with (run / "best.npz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(UserError, match=r"not made from the present best\.npz"):
        enhancer.load(run, runtime="onnx")
    assert isinstance(enhancer.load(run).runtime, keras_runtime.KerasRuntime)
