"""Who speaks and what sounds, by the names of files and folders of known and unknown corpora."""

from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from helpers import (
    assert_error_line,
    call_script,
    data_config,
    data_overrides,
    hiss,
    make_corpus,
    speechlike,
    write_audio,
)
from hypothesis import given
from hypothesis import strategies as st

from specmask.config.schema import Config
from specmask.data.corpus import layouts, recordings
from specmask.data.corpus.layouts import Layout
from specmask.data.mixtures import plan
from specmask.errors import UserError

LIBRISPEECH = "LibriSpeech/train-clean-100/19/198/19-198-0000.flac"


def name(path: str, kind: str = "speech", **options: object) -> tuple[str, str] | None:
    return Layout(kind, **options).name_of(PurePosixPath(path))


@pytest.mark.parametrize(
    ("path", "speaker", "rule"),
    [
        (LIBRISPEECH, "19", "librispeech"),
        ("1272-128104-0000.flac", "1272", "librispeech"),
        ("librispeech/19/libri_19-198-0000.flac", "19", "librispeech"),
        ("p225/p225_001.wav", "p225", "vctk"),
        ("wav48/p225/p225_001_mic1.flac", "p225", "vctk"),
        ("clean_train/p234_002.wav", "p234", "vctk"),  # MS-SNSD
        ("clean_train/mic_F01_sa1.wav", "F01", "ptdb"),  # MS-SNSD
        ("read_speech/book_00000_chp_0009_reader_06709_0_seg_1_seg1.wav", "06709", "dns"),
        ("tidigits/MAE_3A.wav", "MAE", "columbia"),
        ("an4/fash/x-1-b.wav", "an4/fash", "folders"),
        ("my voice/a.wav", "my voice", "folders"),
        ("kerstin/2021-03-05.wav", "kerstin", "folders"),  # not speaker 2021
    ],
)
def test_speakers(path, speaker, rule):
    assert name(path) == (speaker, speaker)
    assert Layout("speech").classify(PurePosixPath(path))[0] == rule


def test_speakers_that_are_not_known():
    first, second = name("a.wav"), name("b.wav")
    assert first[0] != second[0]
    assert first[1] == second[1] == ""
    assert name("dev_Sq1_Co_A_src.wav") == ("sisec:dev_Sq1_Co_A", "")


@pytest.mark.parametrize(
    ("path", "group", "label"),
    [
        ("rain/1-17367-A-10.wav", "esc:17367", "rain"),
        ("rain/1-17367-B-10.wav", "esc:17367", "rain"),  # another take of the same recording
        ("esc10/rain/1-17367-A.ogg", "esc:17367", "esc10/rain"),
        ("5-250753-A-34.wav", "esc:250753", "5-250753-A"),
        ("door_Freesound_validated_397224_0.wav", "freesound:397224", "door"),
        ("AirConditioner_3.wav", "AirConditioner_3.wav", "AirConditioner"),
        ("fan 12.wav", "fan 12.wav", "fan"),
        ("street/long.flac", "street/long.flac", "street"),
        ("123.wav", "123.wav", "123"),
        ("dev_Sq1_Co_A_noi.wav", "sisec:dev_Sq1_Co_A", "Sq"),
    ],
)
def test_recordings(path, group, label):
    assert name(path, "noise") == (group, label)


def test_mixtures_are_sources_of_nothing():
    for path in ("dev_Sq1_Co_A_mix.wav", "dev_Sq1_Co_A_noi.wav"):
        assert name(path) is None
    for path in ("dev_Sq1_Co_A_mix.wav", "dev_Sq1_Co_A_sim.wav"):
        assert name(path, "noise") is None


def test_a_forced_layout_tries_no_other_rule():
    assert name("anna/p225_001.wav", rule="folders") == ("anna", "anna")
    assert name("anna/19-198-0000.wav", rule="vctk") == ("anna", "anna")


# ---------------------------------------------------------------- folders of speakers


def speakers(*folders: str, level: int = 0) -> dict[str, str]:
    return layouts.speaker_folders([PurePosixPath(f) for f in folders], level)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["anna/session1", "anna/session2", "bert/session1"], ["anna", "anna", "bert"]),
        (["anna/2021-03-05", "anna/20210306", "bert/2021.04.01 b"], ["anna", "anna", "bert"]),
        (["anna/am", "anna/pm", "bert/am", "bert/pm"], ["anna", "anna", "bert", "bert"]),
        (["near/anna", "near/bert", "near/carl", "far/anna", "far/bert", "far/carl"],
         ["anna", "bert", "carl"] * 2),
        (["train/anna", "dev/bert", "train/carl/wav"], ["anna", "bert", "carl"]),
        (["an4/fash", "an4/fbbh", "vctk/x225", "kerstin"],
         ["an4/fash", "an4/fbbh", "vctk/x225", "kerstin"]),
        (["session1", "session2"], ["session1", "session2"]),  # nothing else could be it
        (["x/anna/am", "x/anna/pm", "x/bert/am", "x/bert/pm", "y/s1", "y/s2"],
         ["x/anna", "x/anna", "x/bert", "x/bert", "y/s1", "y/s2"]),
    ],
)  # fmt: skip
def test_the_folder_that_names_the_speaker(folders, expected):
    assert list(speakers(*folders).values()) == expected


def test_the_user_may_say_which_folder_it_is():
    folders = ("en/anna/x", "en/anna/y", "de/bert/z", "solo")
    assert list(speakers(*folders, level=2).values()) == ["en/anna", "en/anna", "de/bert", "solo"]
    assert list(speakers(*folders, level=1).values()) == ["en", "en", "de", "solo"]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=4).map("/".join), unique=True))
def test_every_folder_has_a_speaker_among_its_own_parts(folders):
    for folder, speaker in speakers(*folders).items():
        assert speaker and f"/{speaker}/" in f"/{folder}/"


def test_nested_sessions_are_one_speaker_in_a_data_set(tmp_path):
    """The split between training and validation has no speaker on both sides."""
    root = make_corpus(tmp_path / "corpus")
    rng = np.random.default_rng(0)
    for speaker in ("dora", "emil"):
        for session in ("am", "pm"):
            write_audio(root / f"clean_train/{speaker}/{session}/0.wav", speechlike(rng, 1))
    for chapter in ("1", "2"):
        write_audio(
            root / f"clean_train/LS/train/19/{chapter}/19-{chapter}-0000.flac", speechlike(rng, 1)
        )
    plans, warnings, _ = plan.make_plans(data_config(root, tmp_path / "out"))
    groups = [{s.group for s in p.speech} for p in plans[:2]]
    assert groups[0] | groups[1] == {"anna", "bert", "carl", "dora", "emil", "19"}
    assert not groups[0] & groups[1] and warnings == []
    lines = [*plans[0].layout, *plans[2].layout]
    assert (
        lines[0]
        == "training speech: layout: folders (10 files) + LibriSpeech (2 files), 6 speakers"
    )
    assert lines[3] == "testing noise: layout: folders, 1 recording"


# ---------------------------------------------------------------- noise classes


def esc(root: Path, with_list: bool) -> Path:
    """A small ESC-50: two classes of two recordings."""
    rng = np.random.default_rng(0)
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for k, (category, target) in enumerate([("clock_tick", 38), ("hand_saw", 49)] * 2):
        file = f"1-{100 + k}-A-{target}.wav"
        write_audio(root / "audio" / file, hiss(rng, 0.5))
        rows.append(f"{file},1,{target},{category},False,{100 + k},A")
    if with_list:
        (root / "meta").mkdir()
        (root / "meta/esc50.csv").write_text("\n".join(rows))
    return root


def scan_noise(root: Path, config: Config) -> list[recordings.Source]:
    paths = recordings.list_folder(root, "noise_train_path")
    layout = layouts.detect(root, paths, "noise", config)
    return recordings.scan(root, paths, layout.name_of, config, "noise_train_path")[0]


@pytest.mark.parametrize("below", [".", "audio"])
def test_classes_from_the_list_of_esc_50(below, tmp_path):
    root = esc(tmp_path / "ESC-50-master", True) / below
    config = data_config(tmp_path, tmp_path, data__noise_classes="Clock tick")
    found = scan_noise(root, config)
    assert [(s.label, s.group) for s in found] == [
        ("clock_tick", "esc:100"),
        ("clock_tick", "esc:102"),
    ]


def test_a_damaged_list_of_esc_50(tmp_path):
    root = esc(tmp_path / "ESC-50-master", True)
    (root / "meta/esc50.csv").write_text('filename,category\n"' + 140_000 * "x")
    with pytest.raises(UserError, match=r"esc50\.csv: not readable as CSV"):
        scan_noise(root, data_config(tmp_path, tmp_path))


def test_classes_from_folders(tmp_path):
    for kind in ("esc10/rain", "esc10/sea_waves", "fan"):
        write_audio(tmp_path / "n" / kind / "1.wav", hiss(np.random.default_rng(len(kind)), 0.5))
    config = data_config(tmp_path, tmp_path, data__noise_classes="sea-waves, fan")
    found = scan_noise(tmp_path / "n", config)
    assert [s.label for s in found] == ["esc10/sea_waves", "fan"]
    config = data_config(tmp_path, tmp_path, data__noise_classes="fan, thunder")
    with pytest.raises(UserError, match=r"noise_classes: thunder: no such noise.*rain"):
        scan_noise(tmp_path / "n", config)


def test_a_forced_layout_that_no_file_follows(corpus, tmp_path):
    config = data_config(corpus, tmp_path, data__speech_layout="librispeech")
    with pytest.raises(UserError, match=r"speech_layout = librispeech: no file in .* LibriSpeech"):
        plan.make_plans(config)


def test_the_options_reach_the_script(corpus, tmp_path):
    sets = [p for s in data_overrides(corpus, tmp_path / "out") for p in ("--set", s)]
    done = call_script("data_prep.py", *sets, "--set", "data.noise_layout=esc", cwd=tmp_path)
    assert_error_line(done, "noise_layout = esc", "ESC-50")
    done = call_script(
        "data_prep.py", *sets, "--set", "data.noise_classes=rain,fan,wind", cwd=tmp_path
    )
    assert_error_line(done, "noise_classes: wind", "noise_train_path")


def test_recordings_that_a_list_sets_aside(corpus, tmp_path):
    path = tmp_path / "check.csv"
    path.write_text(
        "folder,path,plan,problem\nclean_train_path,anna/0.wav,set aside,clipped\n"
        "clean_train_path,anna/1.wav,fix,stereo\nnoise_train_path,bert/0.wav,set aside,x\n",
        encoding="utf-8-sig",  # as Excel saves it
    )
    config = data_config(corpus, tmp_path, data__set_aside=path)
    root, option = corpus / "clean_train", "clean_train_path"
    paths = recordings.list_folder(root, option)
    found, rejected = recordings.scan(root, paths, Layout("speech").name_of, config, option)
    assert "anna/0.wav" not in {s.path for s in found} and len(found) == 5
    assert [(r.path, r.reason) for r in rejected] == [
        ("anna/0.wav", "set aside by check.csv: clipped")
    ]
    path.write_text("something else\n1\n")
    with pytest.raises(UserError, match=r"set_aside = .*check.csv: cannot be used"):
        recordings.excluded_by_list(config, "clean_train_path")
