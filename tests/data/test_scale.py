"""Data sets that are large, spread over processes and machines, and interrupted at any moment."""

import os
from pathlib import Path

from helpers import (
    TOTALS,
    assert_error_line,
    assert_user_error,
    call_script,
    data_config,
    data_overrides,
    make_data,
    make_project,
    read_csv,
    run_script,
    settings_args,
    snapshot,
)

from specmask import files
from specmask.data.mixtures import build

# ---------------------------------------------------------------- shards


def test_subfolders_from_end_to_end(tmp_path):
    """Data, cache, training, enhancement and scores of files in numbered subfolders."""
    ini = make_project(tmp_path)
    plain = ("--config", ini, "--set", "data.data_path=plain")
    sharded = ("--config", ini, "--set", "data.data_path=sharded")
    sharded += ("--set", "data.files_per_folder=3", "--set", "train.epochs=1")
    for arguments in (plain, sharded):
        assert call_script("data_prep.py", *arguments, cwd=tmp_path).returncode == 0
    names = {p.name for p in (tmp_path / "sharded/NoisySpeech_training").iterdir()}
    assert names == {"00000", "00001", "00002", "00003"}
    flat = {
        (Path(name).parts[0], Path(name).name): content
        for name, content in snapshot(tmp_path / "sharded").items()
        if name.endswith(".wav")
    }
    assert flat == {
        Path(name).parts: content
        for name, content in snapshot(tmp_path / "plain").items()
        if name.endswith(".wav")
    }
    found = read_csv(tmp_path / "sharded/manifest_training.csv")
    assert [r["clean_file"] for r in found[2:4]] == ["00000/clnsp3.wav", "00001/clnsp4.wav"]

    for script in ("stft.py", "train.py", "enhance.py", "evaluate.py"):
        done = call_script(script, *sharded, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "enhanced").rglob("0000?/noisy*.wav"))) == 4
    scored = read_csv(tmp_path / "report/scores.csv")
    assert len([r for r in scored if r["system"] == "enhanced" and r["noise_type"] == "hiss"]) == 4

    (tmp_path / "sharded/Noise_training/00001" / Path(found[4]["noise_file"]).name).unlink()
    before = snapshot(tmp_path / "sharded")
    again = call_script("data_prep.py", *sharded, cwd=tmp_path)
    assert "training: 12 files, 0.00 h, 1 new" in again.stdout
    assert len(snapshot(tmp_path / "sharded")) == len(before) + 1
    done = call_script("data_prep.py", *sharded[:4], cwd=tmp_path)
    assert_error_line(done, "files_per_folder was 3, is 0", "--overwrite")
    done = call_script("data_prep.py", *sharded[:4], "--overwrite", cwd=tmp_path)
    assert done.returncode == 0
    now = snapshot(tmp_path / "sharded")
    assert {k: v for k, v in now.items() if k.endswith(".wav")} == {
        k: v for k, v in snapshot(tmp_path / "plain").items() if k.endswith(".wav")
    }
    assert not any(p.name == "00000" for p in (tmp_path / "sharded").rglob("*"))


# ---------------------------------------------------------------- interruptions


def test_what_a_kill_has_left_of_a_manifest_is_removed(corpus, tmp_path, expected):
    (tmp_path / f"{files.TEMPORARY}1e3a.csv").write_text("index,clean_f")
    make_data(data_config(corpus, tmp_path, **TOTALS))
    assert snapshot(tmp_path) == expected


def test_two_runs_in_one_folder(corpus, tmp_path):
    args = settings_args(data_overrides(corpus, tmp_path, **TOTALS))
    config = data_config(corpus, tmp_path, **TOTALS)
    with build.locked(config):
        done = run_script("data_prep.py", *args, cwd=tmp_path)
        assert_user_error(done, str(tmp_path), "another run", str(os.getpid()), "wait")
        assert not list(tmp_path.rglob("*.wav"))
    assert make_data(config)[0].new == 40
