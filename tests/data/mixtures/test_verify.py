"""A finished data set is proved from its files, and each thing that is changed is found."""

import csv
import shutil

import numpy as np
import pytest
import soundfile as sf
from helpers import (
    assert_error_line,
    call_script,
    data_config,
    data_overrides,
    read_csv,
    settings_args,
    snapshot,
)

from specmask.data.mixtures import build, manifest, verify
from specmask.data.mixtures.plan import make_plans
from specmask.data.mixtures.render import FILES
from specmask.errors import UserError


@pytest.fixture(scope="module")
def made(corpus, tmp_path_factory):
    """A small data set, not to be changed."""
    out = tmp_path_factory.mktemp("made")
    for plan in make_plans(data_config(corpus, out))[0]:
        build.make(plan)
    return out


@pytest.fixture
def copy(made, corpus, tmp_path):
    """A copy of it, its first row of training, and its command line."""
    out = tmp_path / "out"
    shutil.copytree(made, out)
    row = read_csv(out / "manifest_training.csv")[0]
    return out, row, settings_args(data_overrides(corpus, out))


def mismatches(out, args, cwd) -> list[dict[str, str]]:
    done = call_script("data_prep.py", "--verify", *args, cwd=cwd)
    path = out / "verify.csv"
    if not path.is_file():
        assert done.returncode == 0, done.stdout + done.stderr
        return []
    assert done.returncode == 1 and str(path) in done.stdout
    return read_csv(path)


def change(path, function) -> None:
    x, rate = sf.read(path, dtype="int16")
    sf.write(path, function(x), rate, subtype="PCM_16")


def plus_one(x: np.ndarray) -> np.ndarray:
    x[1000] += 1
    return x


def test_a_finished_set_is_right(copy, tmp_path):
    out, _, args = copy
    before = snapshot(out)
    done = call_script("data_prep.py", "--verify", *args, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        "training: 20 rows, 60 files read: all as in the manifest"
    )
    assert snapshot(out) == before


@pytest.mark.parametrize(
    ("column", "function", "texts"),
    [
        ("noisy_file", plus_one, ["not clean + noise in 1 samples, the first: 1000"]),
        ("clean_file", plus_one, ["not clean + noise", "digest"]),
        ("noise_file", lambda x: x // 2,
         ["not clean + noise", "digest", "noise_level_db", "measured_snr_db"]),
        ("noisy_file", lambda x: x[:-1], ["7999 samples", ]),
        ("noisy_file", lambda x: np.stack([x, x], 1), ["2 channels"]),
    ],
)  # fmt: skip
def test_files_that_were_changed(column, function, texts, copy, tmp_path):
    out, row, args = copy
    kind = dict(zip(FILES.values(), FILES, strict=True))[column]
    change(out / f"{kind}_training" / row[column], function)
    found = mismatches(out, args, tmp_path)
    assert {(r["split"], r["index"]) for r in found} == {("training", "0")}
    for text in texts:
        assert any(text in r["mismatch"] for r in found), text


def test_files_that_are_missing_or_strange(copy, tmp_path):
    out, row, args = copy
    (out / "Noise_training" / row["noise_file"]).unlink()
    (out / "CleanSpeech_training" / row["clean_file"]).write_bytes(b"no audio")
    sf.write(out / "Noise_testing/mine.wav", np.zeros(9), 16000)
    sf.write(out / "Noise_testing/noisy99_SNRdb_5.00.wav", np.zeros(9), 16000)  # of a larger set
    texts = {r["file"]: r["mismatch"] for r in mismatches(out, args, tmp_path)}
    assert "not readable" in texts[row["noise_file"]]
    assert "not readable as audio" in texts[row["clean_file"]]
    assert texts["Noise_testing/mine.wav"] == "not in the manifest" and len(texts) == 3


@pytest.mark.parametrize("column", ["measured_snr_db", "peak", "clean_level_db", "noise_digest"])
def test_rows_that_were_changed(column, copy, tmp_path):
    out, row, args = copy
    path = out / "manifest_training.csv"
    value = row[column][:-1] + str((int(row[column][-1], 16) + 1) % 10)
    if column != "noise_digest":
        value = str(float(row[column]) + 0.01)
    content = read_csv(path)
    content[0][column] = value
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
    word = "digest" if column == "noise_digest" else column
    assert any(word in r["mismatch"] for r in mismatches(out, args, tmp_path))


def test_levels_that_an_earlier_version_measured_with_the_offset(copy, tmp_path):
    """Its data sets are right as they are."""
    out, _, _ = copy
    rng = np.random.default_rng(0)
    clean, noise = (np.round(900 * rng.standard_normal(8000) + m) for m in (2000, -1500))
    arrays = dict(zip(FILES, (clean, noise, clean + noise), strict=True))
    for kind, x in arrays.items():
        sf.write(out / f"{kind}.wav", x.astype(np.int16), 16000, subtype="PCM_16")
    power = {kind: np.mean((x / 32768) ** 2) for kind, x in arrays.items()}
    row = copy[1] | {column: f"{kind}.wav" for kind, column in FILES.items()}
    row |= {
        "clean_level_db": f"{10 * np.log10(power['CleanSpeech']):.3f}",
        "noise_level_db": f"{10 * np.log10(power['Noise']):.3f}",
        "measured_snr_db": f"{10 * np.log10(power['CleanSpeech'] / power['Noise']):.4f}",
    }
    config = data_config(out, out, **{f"STFT__{k}_training_dir": out for k in FILES})
    texts = [text for _, text in verify.check_row(row, config, "training")]
    assert not [text for text in texts if "_db" in text]
    texts = [t for _, t in verify.check_row(row | {"noise_level_db": "-9"}, config, "training")]
    assert any("noise_level_db" in text for text in texts)


def test_an_snr_that_was_never_reached(copy):
    row = copy[1] | {"snr_db": "3.00", "measured_snr_db": "10.0000"}
    assert "requested 3.0 dB" in verify._snr_misses(row)[0][1]
    assert verify._snr_misses(row | {"measured_snr_db": "3.0400"}) == []
    assert verify._snr_misses(row | {"snr_db": "inf"}) == []


def test_a_row_that_is_gone(copy, tmp_path):
    out, _, args = copy
    path = out / "manifest_validation.csv"
    lines = path.read_text().split("\n")
    path.write_text("\n".join(lines[:2] + lines[3:]))
    found = mismatches(out, args, tmp_path)
    assert [(r["split"], r["mismatch"]) for r in found] == [
        ("validation", "row 1 of the manifest has this index")
    ]


def test_no_data_set(corpus, tmp_path):
    with pytest.raises(UserError, match="no finished data set"):
        verify.verify(data_config(corpus, tmp_path))


# ---------------------------------------------------------------- one file again


def test_a_file_again_from_its_row(copy, tmp_path):
    out, row, args = copy
    again = tmp_path / "again"
    render = ("data_prep.py", "--render", "training", "0", *args)
    done = call_script(*render, "--output", again, cwd=tmp_path)
    assert done.returncode == 0 and "the same samples" in done.stdout
    for kind, column in FILES.items():
        expected = (out / f"{kind}_training" / row[column]).read_bytes()
        assert (again / row[column]).read_bytes() == expected
    done = call_script(*render, "--output", again, cwd=tmp_path)
    assert_error_line(done, "exists already", "--overwrite")
    one = tmp_path / "one.wav"
    call_script(*render, "--output", one, cwd=tmp_path)
    expected = (out / "NoisySpeech_training" / row["noisy_file"]).read_bytes()
    assert one.read_bytes() == expected


def test_the_data_set_is_not_overwritten_unless_asked(copy, tmp_path):
    out, row, args = copy
    folder = out / "NoisySpeech_training"
    change(folder / row["noisy_file"], plus_one)
    before = (folder / row["noisy_file"]).read_bytes()
    command = ("data_prep.py", "--render", "training", "0", *args, "--output")
    target = folder / row["noisy_file"]
    assert_error_line(call_script(*command, target, cwd=tmp_path), "exists already")
    assert target.read_bytes() == before
    assert call_script(*command, target, "--overwrite", cwd=tmp_path).returncode == 0
    assert mismatches(out, args, tmp_path) == []


def test_a_source_that_has_changed(copy, corpus, tmp_path):
    out, _, _ = copy
    other = tmp_path / "corpus"
    shutil.copytree(corpus, other)
    for path in (other / "clean_train").rglob("*.wav"):
        change(path, lambda x: x[::-1])
    args = settings_args(data_overrides(other, out))
    done = call_script(
        "data_prep.py", "--render", "training", "0", "--output", tmp_path / "a", *args, cwd=tmp_path
    )
    assert done.returncode == 1 and "not the samples" in done.stdout


@pytest.mark.parametrize("name", ["../../stolen.wav", "{}/stolen.wav"])
def test_a_row_that_leads_out_of_the_folder(copy, tmp_path, name):
    (out, row, args), name = copy, name.format(tmp_path.as_posix())
    path = out / "manifest_training.csv"
    path.write_text(path.read_text().replace(row["clean_file"] + ",", name + ",", 1))
    command = ("data_prep.py", "--render", "training", "0", *args, "--output", tmp_path / "a/b/c")
    assert_error_line(call_script(*command, cwd=tmp_path), "not in", str(tmp_path / "a/b/c"))
    assert not list(tmp_path.rglob("stolen.wav"))


@pytest.mark.parametrize("value", ["[{}]", "[", "7"])
def test_a_row_whose_pieces_are_damaged(copy, tmp_path, value):
    out, _, args = copy
    path = out / "manifest_training.csv"
    found = read_csv(path)
    found[0]["speech"] = value
    manifest.write(path, found)
    command = ("data_prep.py", "--render", "training", "0", *args, "--output", tmp_path / "a")
    assert_error_line(
        call_script(*command, cwd=tmp_path), "row 0 cannot be understood", "--overwrite"
    )


def test_rows_that_do_not_exist(copy, tmp_path):
    args = copy[2]
    done = call_script("data_prep.py", "--render", "training", "20", *args, cwd=tmp_path)
    assert_error_line(done, "no such row", "0 to 19")
    for wrong in (("trainig", "0"), ("training", "-1"), ("training", "x")):
        with pytest.raises(SystemExit):
            call_script("data_prep.py", "--render", *wrong, *args, cwd=tmp_path)
