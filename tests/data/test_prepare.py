"""Lines on size and disk space before a run, and on totals that a data set does not have."""

import re
import shutil

import numpy as np
import pytest
from helpers import (
    assert_error_line,
    call_script,
    data_config,
    data_overrides,
    hiss,
    settings_args,
    speechlike,
    write_audio,
)

from specmask.data import prepare
from specmask.data.mixtures import build, manifest
from specmask.data.mixtures.plan import make_plans
from specmask.errors import UserError

TOTALS = {
    "data__total_training_files": 40,
    "data__total_validation_files": 4,
    "data__total_testing_files": 4,
}
FILES, MANIFESTS = 3 * 4 * 4096, 48 * 2 * 2048  # 16,044 bytes are four blocks


def set_free_space(monkeypatch, free: int) -> None:
    """Let every disk have so many free bytes."""
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - free, free))


def test_the_size_is_printed_before_the_first_file(corpus, tmp_path):
    args = settings_args(data_overrides(corpus, tmp_path / "out", **TOTALS))
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    lines = done.stdout.splitlines()
    first = next(x for x in lines if not x.startswith("warning") and "layout: " not in x)
    assert first.startswith("data set: 48 files, 0.01 h, 48 to be made: 0.00")
    assert re.search(r" GB of [\d.]+ GB free, with 1 worker$", first)
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert "data set: 48 files, 0.01 h, all done" in done.stdout


def test_a_disk_that_is_too_small_is_refused(corpus, tmp_path, monkeypatch):
    args = settings_args(data_overrides(corpus, tmp_path / "out", **TOTALS))
    set_free_space(monkeypatch, 48 * FILES + MANIFESTS - 1)
    done = call_script("data_prep.py", *args, cwd=tmp_path)
    assert_error_line(done, str(tmp_path / "out"), "0.003 GB are needed", "free some space")
    assert not list(tmp_path.rglob("*.wav"))
    set_free_space(monkeypatch, 48 * FILES + MANIFESTS)
    assert call_script("data_prep.py", *args, cwd=tmp_path).returncode == 0


def test_existing_files_need_no_space(corpus, tmp_path, monkeypatch):
    """Neither files that are done, nor those that are to be replaced."""
    config = data_config(corpus, tmp_path, **TOTALS)
    plans = make_plans(config)[0]
    for plan in plans:
        build.make(plan)
    (tmp_path / "Noise_testing" / manifest.read(config, "testing")[0]["noise_file"]).unlink()
    set_free_space(monkeypatch, FILES + 4 * 4096 + MANIFESTS)
    with build.locked(config):
        line = prepare.size_line([build.status(plan) for plan in plans])
        assert "48 files, 0.01 h, 1 to be made" in line
        replaced = prepare.size_line([build.status(plan, overwrite=True) for plan in plans])
        assert "48 to be made" in replaced
    fewer = TOTALS | {"data__total_training_files": 20}
    for plan in make_plans(data_config(corpus, tmp_path, **fewer))[0]:
        smaller = build.status(plan, overwrite=True)
        assert build.disk_space([smaller]) == (0, FILES + 4 * 4096 + MANIFESTS)
        break
    set_free_space(monkeypatch, FILES)
    with pytest.raises(UserError, match="are needed"), build.locked(config):
        prepare.size_line([build.status(plan) for plan in plans])


@pytest.mark.parametrize(
    ("total", "words"),
    [(41, "has 40 training files where .*total_training_files = 41; .* makes the rest"),
     (39, "takes the first ones only"), (40, None)],
)  # fmt: skip
def test_a_total_that_the_data_set_does_not_have(corpus, tmp_path, total, words):
    """Its cache is up to date, but trains another number of files than the configuration says."""
    config = data_config(corpus, tmp_path, **TOTALS)
    for plan in make_plans(config)[0]:
        build.make(plan)
    changed = TOTALS | {"data__total_training_files": total}
    args = settings_args(data_overrides(corpus, tmp_path, **changed))
    for state in ("made", "up to date"):
        done = call_script("stft.py", *args, cwd=tmp_path)
        assert f"training: 40 files, 4 MB, {state}" in done.stdout
        warnings = [x for x in done.stdout.splitlines() if x.startswith("warning: ")]
        assert len(warnings) == (words is not None)
        assert not words or re.search(words, warnings[0])


def test_two_splits_in_one_folder_are_refused(corpus, tmp_path):
    """Validation would replace files of training, without a word."""
    shared = {"stft__CleanSpeech_validation_dir": tmp_path / "CleanSpeech_training"}
    for refusing in (prepare.make, prepare.transform):
        with pytest.raises(UserError, match=r"CleanSpeech_training_dir and CleanSpeech_validation"):
            refusing(data_config(corpus, tmp_path, **TOTALS, **shared))
    cache = {"stft__Testing_STFT_dir": tmp_path / "link"}
    (tmp_path / "link").symlink_to(tmp_path / "Training_STFT")
    with pytest.raises(UserError, match="Training_STFT_dir and Testing_STFT_dir are both"):
        prepare.transform(data_config(corpus, tmp_path, **TOTALS, **cache))
    assert [p.name for p in tmp_path.iterdir()] == ["link"]
    unused = shared | {"data__total_validation_files": 0}  # nothing is written there
    prepare.refuse_shared_folders(data_config(corpus, tmp_path, **(TOTALS | unused)))


def test_pairs_have_no_total(tmp_path):
    """All of them are taken, whatever the totals say."""
    rng = np.random.default_rng(0)
    for k in range(4):
        clean = speechlike(rng, 1)
        write_audio(tmp_path / f"pairs/clean_trainset_wav/p22{k}_1.wav", clean)
        write_audio(tmp_path / f"pairs/noisy_trainset_wav/p22{k}_1.wav", clean + hiss(rng, 1))
    changes = {"data__clean_train_path": tmp_path / "pairs", "data__total_testing_files": 0}
    config = data_config(tmp_path / "pairs", tmp_path / "out", **changes)
    (plan, _), _, _ = make_plans(config)
    build.make(plan)
    assert manifest.count_note(config, "training", plan.total) == ""
