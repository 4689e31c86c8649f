"""The INI file against the model: every option described, read by code, and preserved."""

import ast
import math
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from specmask.config import ini, schema, types
from specmask.config.schema import Config
from specmask.errors import UserError
from specmask.training import runs

OPTIONS = [
    (section, key, field)
    for section, model in schema.section_models().items()
    for key, field in model.model_fields.items()
]
NAMES = [f"{section}.{key}" for section, key, _ in OPTIONS]


def load_text(folder: Path, text: str, *overrides: str, encoding: str = "utf-8") -> Config:
    """Load a configuration from this text as an INI file."""
    path = folder / "some.ini"
    path.write_bytes(text.encode(encoding))
    return ini.load(path, overrides)


def refused(folder: Path, text: str, *overrides: str) -> str:
    """Return the message that a text or override is refused with; it is one line."""
    with pytest.raises(UserError) as caught:
        load_text(folder, text, *overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def another(section: str, key: str, field: Any) -> Any:
    """Return a valid value of an option that is not its default."""
    if field.annotation is Path:
        return Path(f"/elsewhere/100 %/{section} #1; ü/{key}")
    if field.annotation is bool:
        return not field.default
    if get_origin(field.annotation) is Literal:
        return get_args(field.annotation)[-1]
    if key == "remix_snr_db":
        return [-3.5, 12.0]
    if isinstance(field.default, list):
        return field.default[::-1] or ["some*", "others"]
    if isinstance(field.default, dict):
        return {"si_sdr": 0.01, "mse": 2.0}
    if isinstance(field.default, str):
        return "other-1.b"
    if field.annotation is float:
        limits = [
            getattr(c, name) for c in field.metadata for name in ("le", "lt") if hasattr(c, name)
        ]
        most = min(limits, default=float("inf"))
        return (0.75 if field.default * 1.25 > most else 1.25) * field.default or 0.1 / 3
    return field.default + 1


# ---------------------------------------------------------------- the file in the repository


def test_file_in_the_repository_is_the_rendered_default():
    assert (ROOT / "config.ini").read_text(encoding="utf-8") == ini.render()


def test_every_option_is_described():
    text = ini.render()
    missing = [
        name
        for name, (_, key, field) in zip(NAMES, OPTIONS, strict=True)
        if not field.description
        or not re.search(rf"^# {re.escape(field.description)}.*\n{key} =", text, re.M | re.I)
    ]
    assert missing == []


def test_every_section_is_described():
    assert all(model.__doc__ for model in schema.section_models().values())


def test_bounds_and_choices_are_in_the_file():
    text = ini.render()
    for _, _, field in OPTIONS:
        if get_origin(field.annotation) is Literal:
            assert f"[{' | '.join(get_args(field.annotation))}]" in text
    assert "working sampling rate in Hz  [from 4000 to 192000]" in text
    assert "[above 0 below 0.9]" in text
    assert text.count("[yes | no]") == sum(f.annotation is bool for _, _, f in OPTIONS)


def test_defaults_are_those_of_the_reference_project(tmp_path):
    found = load_text(tmp_path, "")
    assert found.data.sample_rate == 16000 and found.data.file_length == 3
    assert found.data.total_training_files == 10000
    assert found.data.total_validation_files == 500
    assert found.data.total_testing_files == 1000
    assert (found.data.snr_lower, found.data.snr_upper, found.data.total_snrlevels) == (-6, 9, 16)
    assert found.stft.window_type == "hann" and found.stft.n_fft == 512
    assert (found.window_length, found.hop_length, found.bins) == (400, 160, 257)


def test_every_option_is_read():
    """An option that no code looks up by its name does nothing."""
    paths = [p for p in (ROOT / "specmask").rglob("*.py") if p.parent.name != "config"]
    nodes = [n for p in paths for n in ast.walk(ast.parse(p.read_text(encoding="utf-8")))]
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}  # as str.format
    read = {n.attr for n in nodes if isinstance(n, ast.Attribute) and id(n) not in called}
    methods = {n.func.attr for n in nodes if isinstance(n, ast.Call) and hasattr(n.func, "attr")}
    assert {"folder", "cache"} <= methods  # what take the options *_dir of [STFT]
    elsewhere = {  # properties of Config, and a name that is put together
        "hop_size": "hop_length",
        **{f"total_{split}_files": "data" for split in types.SPLITS},
    }
    unread = [
        name
        for name, (_, key, _) in zip(NAMES, OPTIONS, strict=True)
        if elsewhere.get(key, key) not in read and not key.endswith("_dir")
    ]
    assert unread == []


@pytest.mark.parametrize("kind", types.KINDS)
@pytest.mark.parametrize("split", types.SPLITS)
def test_folders_are_in_data_path_unless_named(tmp_path, kind, split):
    found = load_text(tmp_path, "[data]\ndata_path = there\n")
    assert found.stft.folder(kind, split) == tmp_path / "there" / f"{kind}_{split}"
    assert found.stft.cache(split) == tmp_path / "there" / f"{split.capitalize()}_STFT"
    named = load_text(tmp_path, f"[STFT]\n{kind}_{split}_dir = here\n{split}_STFT_dir = cache\n")
    assert named.stft.folder(kind, split) == tmp_path / "here"
    assert named.stft.cache(split) == tmp_path / "cache"


# ---------------------------------------------------------------- round trip


def test_defaults_are_preserved_by_a_file(tmp_path):
    found = load_text(tmp_path, "")
    assert load_text(tmp_path, ini.render(found)) == found
    assert load_text(tmp_path, ini.render()) == found


@pytest.mark.parametrize("target", ["magnitude_mapping", "complex_mapping", "real_mapping"])
def test_a_mapping_needs_a_power_that_has_an_inverse(tmp_path, target):
    options = f"model.target={target}", "model.compression=0.05"
    with pytest.raises(UserError, match=r"compression = 0\.05 .* expected 0\.1 or more"):
        load_text(tmp_path, "", *options)
    assert load_text(tmp_path, "", options[0], "model.compression=0.1").model.target == target


@pytest.mark.parametrize("network", ["crn", "band_lstm"])
def test_networks_that_are_always_causal_refuse_to_be_bidirectional(tmp_path, network):
    options = f"model.network={network}", "model.bidirectional=yes"
    message = f"bidirectional = yes with network = {network}.* set network = conv_lstm"
    with pytest.raises(UserError, match=message):
        load_text(tmp_path, "", *options)
    assert load_text(tmp_path, "", options[1], "model.network=conv_lstm").model.bidirectional


def test_every_option_is_preserved_by_a_file(tmp_path):
    wanted = {f"{s}.{k}": another(s, k, f) for s, k, f in OPTIONS}
    # divisors of it
    wanted["train.batch_size"] = 3 * wanted["train.accumulation"] * wanted["train.parts"]
    wanted["train.strategy"] = "default"  # the others do not go with jit_compile
    wanted["model.network"] = "conv_lstm"  # the only one that may be bidirectional
    wanted["train.remix_band_hz"] = [301.0, 302.0]  # above the lower edges
    wanted["model.window_frames"] = 3 * 2 ** wanted["model.levels"]
    overrides = [
        f"{name}={ini.value_text(v) if isinstance(v, list | dict) else v}"
        for name, v in wanted.items()
    ]
    found = load_text(tmp_path, "", *overrides)
    for section, key, _ in OPTIONS:
        assert getattr(getattr(found, section), key) == wanted[f"{section}.{key}"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert load_text(elsewhere, ini.render(found)) == found  # paths are absolute


@settings(max_examples=40)
@given(rate=st.floats(1e-300, 10), level=st.floats(-70, -5), seed=st.integers(0, 2**63 - 1))
def test_numbers_are_preserved_by_a_file(tmp_path_factory, rate, level, seed):
    folder = tmp_path_factory.getbasetemp()
    text = f"[train]\nlearning_rate={rate!r}\n[data]\nspeech_level_db={level!r}\nseed={seed}\n"
    found = load_text(folder, text)
    assert (found.train.learning_rate, found.data.speech_level_db) == (rate, level)
    assert found.data.seed == seed
    assert load_text(folder, ini.render(found)) == found


# ---------------------------------------------------------------- how files may be written


@pytest.mark.parametrize("key", ["SNR_lower", "snr_lower", "SNR_LOWER", "Snr_Lower"])
@pytest.mark.parametrize("section", ["data", "DATA", "Data"])
def test_names_are_compared_without_case(tmp_path, section, key):
    assert load_text(tmp_path, f"[{section}]\n{key} = -9\n").data.snr_lower == -9
    assert load_text(tmp_path, "", f"{section}.{key}=-9").data.snr_lower == -9


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_byte_order_mark_and_line_ends(tmp_path, newline):
    text = newline.join(["\ufeff[data]", "seed = 5", "# ü", "data_path = ünï", ""])
    found = load_text(tmp_path, text)
    assert found.data.seed == 5
    assert found.data.data_path == tmp_path / "ünï"


def test_signs_that_configparser_could_interpret(tmp_path):
    text = "[data]\nclean_train_path = 100%/%(seed)s/${x}/a;b/c#d\n"
    assert (
        load_text(tmp_path, text).data.clean_train_path == tmp_path / "100%/%(seed)s/${x}/a;b/c#d"
    )


def test_colons_as_in_the_reference_project(tmp_path):
    assert load_text(tmp_path, "[data]\nSNR_lower: -7\n").data.snr_lower == -7


@pytest.mark.parametrize("text", ["yes", "on", "true", "1", "Yes"])
def test_yes(tmp_path, text):
    assert load_text(tmp_path, f"[train]\nremix = {text}\n").train.remix is True
    assert load_text(tmp_path, "[train]\nremix = no\n").train.remix is False


def test_lists(tmp_path):
    assert load_text(tmp_path, "[model]\nfeatures = real ,imaginary\n").model.features == [
        "real",
        "imaginary",
    ]


# ---------------------------------------------------------------- paths


def test_paths_are_relative_to_the_file_and_overrides_to_the_working_directory(
    tmp_path, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    found = load_text(tmp_path, "[data]\nclean_train_path = a/../b\n", "data.noise_train_path=../n")
    assert found.data.clean_train_path == tmp_path / "b"
    assert found.data.noise_train_path == tmp_path / "n"
    assert found.data.clean_test_path == tmp_path / "data/clean/clean_test"  # a default
    assert found.train.checkpoint_path == tmp_path / "cp"


def test_paths_of_a_relative_ini(tmp_path, monkeypatch):
    (tmp_path / "some.ini").write_text("[data]\ndata_path = d\n")
    monkeypatch.chdir(tmp_path)
    assert ini.load(Path("some.ini")).data.data_path == tmp_path / "d"


def test_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    found = load_text(tmp_path, "[data]\ndata_path = ~/sounds\n")
    assert found.data.data_path == tmp_path / "home/sounds"
    message = refused(tmp_path, "[data]\ndata_path = ~no_such_user/sounds\n")
    assert "some.ini: [data] data_path = ~no_such_user/sounds: " in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r".\data\CleanSpeech_training", "data/CleanSpeech_training"),
        (r"..\data\x y", "../data/x y"),
        ("./clean/clean_train", "clean/clean_train"),
    ],
)
def test_paths_of_the_reference_project(tmp_path, text, expected):
    found = load_text(tmp_path, f"[STFT]\nCleanSpeech_training_dir = {text}\n")
    assert found.stft.folder("CleanSpeech", "training") == (tmp_path / expected).resolve()


@pytest.mark.parametrize(
    ("section", "key", "field"),
    [o for o in OPTIONS if o[2].annotation is Path],
    ids=[n for n, o in zip(NAMES, OPTIONS, strict=True) if o[2].annotation is Path],
)
def test_an_empty_path_never_becomes_the_working_directory(tmp_path, section, key, field):
    """It is the default if that is described so, nothing at all, or an error."""
    try:
        found = load_text(tmp_path, f"[{section}]\n{key} =\n")
    except UserError as error:
        assert types.ini_name(key) in str(error)
        return
    assert getattr(getattr(found, section), key) == getattr(
        getattr(load_text(tmp_path, ""), section), key
    )


# ---------------------------------------------------------------- layers


@pytest.fixture
def layers(tmp_path) -> list[Path]:
    """Two INI files in different folders that share an option."""
    (tmp_path / "mine").mkdir()
    mine, recipe = tmp_path / "mine/mine.ini", tmp_path / "recipe.ini"
    mine.write_text("[data]\nclean_train_path = speech\nseed = 1\n[train]\nepochs = 3\n")
    recipe.write_text("[data]\nnoise_train_path = noise\nseed = 2\n[train]\nbatch_size = 4\n")
    return [mine, recipe]


def test_later_files_win_and_overrides_win_over_all(layers):
    found = ini.load(layers)
    assert (found.data.seed, found.train.epochs, found.train.batch_size) == (2, 3, 4)
    assert ini.load(layers[::-1]).data.seed == 1
    assert ini.load(layers, ["data.seed=4", " data.seed = 3 "]).data.seed == 3  # the last one


def test_paths_of_layers_are_relative_to_their_files_and_defaults_to_the_first(layers, tmp_path):
    found = ini.load(layers)
    assert found.data.clean_train_path == tmp_path / "mine/speech"
    assert found.data.noise_train_path == tmp_path / "noise"
    assert found.train.checkpoint_path == tmp_path / "mine/cp"


def test_an_error_names_the_layer(layers):
    layers[1].write_text("[train]\nbatch_size = many\n")
    with pytest.raises(UserError, match=r"recipe\.ini: \[train\] batch_size = many"):
        ini.load(layers)
    layers[1].write_text("[data]\nSNR_lower = 20\n")
    with pytest.raises(UserError, match=r"mine\.ini, .*recipe\.ini and command line: \[data\] SNR"):
        ini.load(layers, ["data.seed=3"])


def test_sources_are_comments_of_an_ini_file_that_loads(layers, tmp_path):
    read = ini.read(layers, ["train.epochs=9"])
    text = ini.render(ini.build(read), read)
    assert f"# from {layers[1]}, in place of {layers[0]}\nseed = 2\n" in text
    assert f"# from command line, in place of {layers[0]}\nepochs = 9\n" in text
    assert f"# from {layers[1]}\nbatch_size = 4\n" in text
    assert text.count("# from ") == 5
    default = ini.read(None, ["train.batch_size=8"])
    assert "# from" not in ini.render(ini.build(default), default)
    assert load_text(tmp_path, text) == ini.build(read)


def test_explained_values_are_those_of_the_layers(layers, tmp_path):
    read = ini.read(layers)
    text = ini.explain(read, tmp_path)
    assert "clean_train_path = mine/speech\n" in text  # relative to the new file
    assert "checkpoint_path = cp\n" in text  # a default
    assert "[STFT]" in text and "CleanSpeech_training_dir =\n" in text
    assert load_text(tmp_path, text).data == ini.build(read).data.model_copy(
        update={name: tmp_path / value for name, value in {
            "clean_test_path": "data/clean/clean_test", "noise_test_path": "data/noise/noise_test",
            "data_path": "data",
        }.items()}
    )  # fmt: skip
    assert ini.explain(ini.read(None), tmp_path) == ini.render()


def test_values_of_several_lines_are_kept(tmp_path):
    text = (
        "[model]\nfeatures =\n  magnitude,\n\n  log_magnitude\n[train]\nloss = mse:1,\n\tsi_sdr:2\n"
    )
    config = load_text(tmp_path, text)
    assert config.model.features == ["magnitude", "log_magnitude"]
    for _ in range(2):
        path = tmp_path / "some.ini"
        path.write_text(ini.explain(ini.read(path), tmp_path), encoding="utf-8")
        assert ini.load(path) == config


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[data]\nclean_train_pth = x\n", ["[data] clean_train_pth", "clean_train_path?"]),
        ("[data]\nSNR_lwer = 1\n", ["snr_lwer", "SNR_lower?"]),
        ("[STFT]\nwindow_lenght = 1\n", ["window_lenght", "window_length?"]),
        ("[STFT]\ntraining_stft = x\n", ["Training_STFT_dir?"]),
        ("[dta]\nseed = 1\n", ["[dta]", "did you mean data?"]),
        ("[SFTT]\nn_fft = 1\n", ["[SFTT]", "did you mean STFT?"]),
        ("[qqqq]\nn_fft = 1\n", ["[qqqq]", "known are data, augment, audio, STFT"]),
        ("[audio]\nqqqqqqqq = 1\n", ["known are resampler"]),
        ("[DEFAULT]\nseed = 1\n", ["[DEFAULT]"]),
        ("[dta]\n", ["[dta]", "did you mean data?"]),
    ],
)
def test_unknown_names(tmp_path, text, words):
    message = refused(tmp_path, text)
    for word in ["unknown", "some.ini", *words]:
        assert word in message


@pytest.mark.parametrize(
    "override", ["epochs=3", "train.epochs", "train", "=", "trian.epochs=3", "train.epoch=3", ""]
)
def test_overrides_are_as_strict_as_the_file(tmp_path, override):
    message = refused(tmp_path, "", override)
    assert message.startswith(("--set ", "command line: "))


def test_an_error_names_the_place_of_the_value(tmp_path):
    text = "[train]\nepochs = many\n"
    assert "some.ini: [train] epochs = many" in refused(tmp_path, text, "train.seed=3")
    message = refused(tmp_path, "[train]\nseed = 3\n", "train.epochs=many")
    assert "some.ini" not in message and "command line: [train] epochs = many" in message
    both = refused(tmp_path, "[STFT]\nhop_size = 0.02\n", "stft.window_length=0.01")
    assert "some.ini and command line: [STFT] hop_size = 0.02 s is longer" in both


def test_an_override_may_hold_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_text(tmp_path, "", "data.data_path=a=b").data.data_path == tmp_path / "a=b"


@pytest.mark.parametrize(
    "option",
    [
        "data.total_training_files=0",
        "data.total_training_files=-1",
        "data.total_training_files=3.5",
        "data.total_training_files=many",
        "data.total_training_files=",
        "data.sample_rate=3999",
        "data.sample_rate=192001",
        "data.file_length=nan",
        "data.file_length=inf",
        "data.file_length=0",
        "data.SNR_upper=-inf",
        "data.SNR_upper=101",
        "data.validation_share=0",
        "data.validation_share=0.9",
        "data.snr_mode=some",
        "data.seed=-1",
        "STFT.window_type=kaiser",
        "STFT.window_length=0",
        "STFT.n_fft=1",
        "audio.resampler=sinc",
        "model.features=phase",
        "model.features=magnitude, phase",
        "model.features=",
        "model.features=real, real",
        "train.remix=maybe",
        "train.run_name=../up",
        "train.run_name=.hidden",
        "train.run_name=",
        "train.learning_rate=0",
        "train.loss=",
        "train.loss=mse:0",
        "train.loss=mse:1, mse:2",
        "train.loss=mse:1, mes:2",
        "train.remix_snr_db=9, 3",
        "train.remix_snr_db=9",
        "train.ema=1",
        "compute.workers=-1",
        "enhance.channels=left",
    ],
)
def test_types_and_ranges(tmp_path, option):
    section, _, rest = option.partition(".")
    key, _, value = rest.partition("=")
    message = refused(tmp_path, "", option)
    assert f"[{section}] {key}" in message
    assert value.rpartition(", ")[2] in message
    from_file = refused(tmp_path, f"[{section}]\n{key} = {value}\n")
    assert from_file == message.replace("command line", str(tmp_path / "some.ini"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.SNR_lower=10"], ["SNR_lower = 10", "SNR_upper = 9"]),
        (["data.total_snrlevels=1"], ["total_snrlevels"]),
        (["STFT.hop_size=0.03"], ["hop_size = 0.03", "window_length = 0.025"]),
        (["STFT.n_fft=399"], ["n_fft = 399", "400"]),
        (["data.sample_rate=48000"], ["n_fft = 512", "1200"]),
        (["STFT.hop_size=0.00001"], ["hop_size", "0 samples"]),
        (["STFT.window_length=0.00001", "STFT.hop_size=0.00001"], ["window_length", "samples"]),
    ],
)
def test_options_that_do_not_go_together(tmp_path, overrides, words):
    message = refused(tmp_path, "", *overrides)
    for word in words:
        assert word in message


def test_the_effect_of_an_option_on_a_run_that_resumes():
    models = schema.section_models()
    assert models["model"].on_resume("dropout").refused  # of the section
    assert models["train"].on_resume("batch_size").refused  # of the option
    assert models["data"].on_resume("seed").restarts_epoch
    assert models["data"].on_resume("seed").rescores
    assert not models["data"].on_resume("leaks").restarts_epoch
    assert models["train"].on_resume("loss").rescores
    plain = models["train"].on_resume("learning_rate")
    assert plain.text == "from the next step on" and not plain.refused


def test_options_at_their_limits_go_together(tmp_path):
    load_text(tmp_path, "", "data.SNR_lower=9", "data.total_snrlevels=1")
    load_text(tmp_path, "", "STFT.n_fft=400")
    load_text(tmp_path, "", "STFT.hop_size=0.025")


@pytest.mark.parametrize(
    "text",
    [
        "seed = 1\n",  # no section
        "[data]\nseed\n",  # no value
        "[data]\nseed = 1\nSEED = 2\n",  # twice
        "[data\nseed = 1\n",
        "[data]\nseed = 1\n[data]\nseed = 2\n",
        "[data]\ndata_path = a\0b\n",
        "[stft]\nn_fft = 1024\n[STFT]\nn_fft = 512\n",  # twice, in another case
    ],
)
def test_text_that_is_no_ini(tmp_path, text):
    assert "some.ini" in refused(tmp_path, text)


def test_other_encodings(tmp_path):
    with pytest.raises(UserError, match="UTF-8"):
        load_text(tmp_path, "[data]\ndata_path = ü\n", encoding="latin-1")
    text = "\n".join(["[data]", "seed = 5", "data_path = ü"])
    assert load_text(tmp_path, text, encoding="utf-16").data.data_path == tmp_path / "ü"


@pytest.mark.parametrize(
    "line",
    [
        "data_path = out  ; comment",
        "data_path = out ;comment with a/slash",
        "data_path = out\t# comment",
        "seed = 3 # few",
        "seed = 3 #few",
        "snr_mode = all ; each clip",
        f"seed = 3 ; {'long ' * 60}",
    ],
)
def test_a_comment_after_a_value_is_refused(tmp_path, line):
    message = refused(tmp_path, f"[data]\n{line}\n")
    assert "a comment after the value" in message and "line of its own" in message
    assert load_text(tmp_path, f"[data]\n# {line}\n; {line}\n") == load_text(tmp_path, "")


@pytest.mark.parametrize("name", ["take #1", "a;b", "c#d", "50 ; 50", "drums # loud"])
def test_paths_may_hold_signs_of_comments(tmp_path, name):
    (tmp_path / name).mkdir()
    found = load_text(tmp_path, f"[data]\ndata_path = {name}/x\n")
    assert found.data.data_path == tmp_path / name / "x"


def test_a_run_that_was_moved_is_loaded_whatever_its_paths_hold(tmp_path):
    config = ini.load(None, ["data.data_path=/gone/take #1/data", "train.log_path=/gone/a ;b/logs"])
    run = tmp_path / "run"
    runs.write_config(run / "config.ini", config)
    with pytest.raises(UserError, match="a comment after the value"):  # as one that a user writes
        ini.load(run / "config.ini")
    (run / "best.npz").touch()
    assert ini.load(run / "config.ini") == config


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"no such file.*--config"):
        ini.load(tmp_path / "no.ini")


def test_a_configuration_cannot_be_changed(tmp_path):
    found = load_text(tmp_path, "")
    with pytest.raises(Exception, match="frozen"):
        found.data.seed = 3


@settings(max_examples=40)
@given(st.integers(4000, 192000), st.floats(1e-4, 0.3), st.floats(0.05, 1))
def test_lengths_in_samples_are_the_nearest(tmp_path_factory, rate, window, part):
    folder = tmp_path_factory.getbasetemp()
    hop = window * part
    try:
        found = load_text(
            folder,
            f"[data]\nsample_rate={rate}\n[STFT]\nwindow_length={window!r}\nhop_size={hop!r}\n"
            "n_fft=65536\n",
        )
    except UserError:
        assert window * rate < 1.5 or hop * rate <= 0.5  # only what is shorter than a sample
        return
    assert math.isclose(found.window_length, window * rate, abs_tol=0.5 + 1e-6)
    assert math.isclose(found.hop_length, hop * rate, abs_tol=0.5 + 1e-6)
    assert 1 <= found.hop_length <= found.window_length
