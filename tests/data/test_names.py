"""Names of mixtures: what is written is read back, and foreign names are told apart."""

import math
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specmask.data import names
from specmask.data.names import NoisyName

snrs_db = st.one_of(st.floats(-100, 100), st.sampled_from([math.inf, -math.inf]))


@given(st.integers(0, 10**7), snrs_db, st.sampled_from([0, 1, 1000]))
def test_names_of_mixtures_are_read_back(index, snr_db, files_per_folder):
    written = [
        PurePosixPath(n) for n in names.mixture_files(index, snr_db, files_per_folder).values()
    ]
    assert [names.mixture_index(n.name) for n in written] == [index] * 3
    clean, noise, noisy = written
    assert names.read_noisy(noisy.stem) == NoisyName("MS-SNSD", clean.stem, float(f"{snr_db:.2f}"))
    assert noisy.name == f"{noise.stem}_{clean.name}"
    folder = f"{index // files_per_folder:05d}" if files_per_folder else "."
    assert {str(n.parent) for n in written} == {folder}


@given(st.integers(1, 99), st.from_regex(r"[a-z]+(_[a-z]+)?", fullmatch=True), st.integers(-10, 30))
def test_names_of_noizeus_are_read(sentence, noise, snr_db):
    read = names.read_noisy(f"sp{sentence:02}_{noise}_sn{snr_db}")
    assert read == NoisyName("NOIZEUS", f"sp{sentence:02}", snr_db, noise)


@given(st.integers(0, 10**6), st.text("abcxyz019_-", min_size=1))
def test_names_of_the_dns_challenge_are_read(number, rest):
    assert names.read_noisy(f"{rest}_fileid_{number}").clean == f"clean_fileid_{number}"


def test_a_noisy_name_without_its_snr():
    assert names.read_noisy("street_clnsp7") == NoisyName("MS-SNSD", "clnsp7")


@pytest.mark.parametrize("stem", ["p232_001", "clnsp12", "noisy1_SNRdb_5.00", "sp01", "fileid_3"])
def test_names_without_a_clean_name(stem):
    assert names.read_noisy(stem) is None


@pytest.mark.parametrize(
    "name", ["clnsp1.flac", "clnsp.wav", "my clnsp1.wav", "noisy1_SNRdb_loud.wav", "noisy1.wav"]
)
def test_foreign_names_have_no_index(name):
    assert names.mixture_index(name) is None
