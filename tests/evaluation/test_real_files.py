"""Fifty real recordings: our figures against score.py and slow references written from papers.

Tolerances:
    SI-SDR and SDR: 1e-4 dB.
    STOI and ESTOI at 10 kHz, where nothing is resampled: 1e-4.
    STOI and ESTOI at 16 kHz, where pystoi and the reference resample with different filters: 0.01.
    PESQ: equal to the package as score.py calls it. There is no second implementation of the
    wideband mode that could be installed, so this tests what goes into it, not P.862 itself.
    Means, and those of score.py: to the last digit that is printed.
"""

import re
import shutil
import subprocess
import sys

import numpy as np
import pesq as pesq_package
import pytest
import scipy.linalg
import soundfile as sf
import soxr
from helpers import SHARED, write_audio
from numpy.testing import assert_allclose

from specmask.evaluation import report, scoring
from specmask.evaluation.metrics import table

pytestmark = pytest.mark.skipif(
    not (SHARED / "data" / "bench").is_dir() or not (SHARED / "score.py").is_file(),
    reason=f"needs score.py and the bench in {SHARED}",
)

FILES = 50
RATE = 16000
STOI_RATE = 10000
NAMES = ("si_sdr", "sdr", "pesq", "stoi", "estoi")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Every second pair of the bench: all speakers, noises and SNRs."""
    root = tmp_path_factory.mktemp("bench")
    for kind in ("clean", "noisy"):
        (root / kind).mkdir()
        for path in sorted((SHARED / "data" / "bench" / kind).iterdir())[:: 100 // FILES]:
            shutil.copy(path, root / kind)
    return root


@pytest.fixture(scope="module")
def both(folders):
    """Our rows and what score.py prints, made at the same time."""
    with score_py(folders / "clean", folders / "noisy") as process:
        systems = {"s": folders / "noisy"}
        rows = scoring.evaluate(folders / "clean", systems, workers=1, names=NAMES)
        return rows, process.communicate()[0]


@pytest.fixture(scope="module")
def rows(both):
    return both[0]


@pytest.fixture(scope="module")
def pairs(folders):
    """Clean and noisy samples by name, float64."""
    return {
        path.stem: tuple(sf.read(folders / kind / path.name)[0] for kind in ("clean", "noisy"))
        for path in (folders / "clean").iterdir()
    }


def score_py(*folders) -> subprocess.Popen:
    command = [sys.executable, SHARED / "score.py", *folders]
    return subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)


def figures(text: str) -> tuple:
    """Return what score.py prints: n, band of PESQ, PESQ, STOI, ESTOI, SI-SDR."""
    form = r"n +(\d+) +(PESQ-.B) (\S+) +STOI (\S+) +ESTOI (\S+) +SI-SDR (\S+)"
    return re.search(form, text).groups()


def printed(rows) -> tuple:
    """Return the same figures as they stand in our table."""
    lines = report.table(report.summary(rows, "", {})).splitlines()
    cells = dict(zip(re.split(r"\s{2,}", lines[0].strip()), lines[2].split(), strict=True))
    band = next(key for key in cells if key.startswith("PESQ"))
    found = [cells[k].split("±")[0] for k in ("n", band, "STOI", "ESTOI", "SI-SDR dB")]
    return found[0], band, *found[1:]


def test_means_of_fifty_files_are_those_of_score_py(both):
    rows, text = both
    assert len(rows) == FILES
    assert printed(rows) == figures(text)


def test_means_at_8_khz_are_those_of_score_py(tmp_path):
    source = SHARED / "data" / "noizeus_8k"
    for kind, pattern in (("clean", "sp01.*"), ("noisy", "sp01_*_sn5.*")):
        for path in (source / kind).glob(pattern):
            write_audio(tmp_path / kind / f"{path.stem}.wav", *sf.read(path))
    with score_py(tmp_path / "clean", tmp_path / "noisy") as process:
        expected = figures(process.communicate()[0])
    found = scoring.evaluate(tmp_path / "clean", {"s": tmp_path / "noisy"}, workers=1, names=NAMES)
    assert len(found) == 4 and expected[1] == "PESQ-NB"
    assert printed(found) == expected


def test_pesq_of_every_file_is_that_of_the_package(rows, pairs):
    for row in rows[::5]:
        clean, noisy = pairs[row["file"]]
        assert_allclose(row["pesq_wb"], pesq_package.pesq(RATE, clean, noisy, "wb"), atol=1e-3)


# ---------------------------------------------------------------- ratios


def slow_si_sdr(clean, enhanced):
    """SI-SDR of Le Roux et al. 2019: the scale by least squares, not by its formula."""
    s, e = clean - clean.mean(), enhanced - enhanced.mean()
    scale = np.linalg.lstsq(s[:, None], e)[0]
    return 10 * np.log10(np.sum((scale * s) ** 2) / np.sum((scale * s - e) ** 2))


def slow_sdr(clean, enhanced, taps=512):
    """SDR of BSS-eval: project on 512 delayed references, in float64, by the normal equations.

    Correlations are summed directly, the dense system is solved by Cholesky's method, and the
    projection is made in the time domain; fast_bss_eval does all three by FFTs and an iteration.
    """
    padded = np.r_[enhanced, np.zeros(taps - 1)]
    longer, n = np.r_[clean, np.zeros(taps - 1)], len(clean)
    # einsum, not @: the threads of BLAS cost more than so short a product
    gram = scipy.linalg.toeplitz([np.einsum("i,i", longer[k : k + n], clean) for k in range(taps)])
    right = np.array([np.einsum("i,i", padded[k : k + n], clean) for k in range(taps)])
    weights = scipy.linalg.solve(gram, right, assume_a="pos")
    target = np.convolve(clean, weights)
    return 10 * np.log10(np.sum(target**2) / np.sum((padded - target) ** 2))


@pytest.mark.slow
def test_energy_ratios_of_every_file(rows, pairs):
    for row in rows:
        assert_allclose(row["si_sdr"], slow_si_sdr(*pairs[row["file"]]), atol=1e-4)
        assert_allclose(row["sdr"], slow_sdr(*pairs[row["file"]]), atol=1e-4)


# ---------------------------------------------------------------- STOI

FRAME, HOP, SIZE, SEGMENT, BANDS = 256, 128, 512, 30, 15
WINDOW = np.hanning(FRAME + 2)[1:-1]


def frames_of(x):
    return np.array([WINDOW * x[i : i + FRAME] for i in range(0, len(x) - FRAME, HOP)])


def without_pauses(clean, enhanced):
    """Leave out frames more than 40 dB below the loudest clean one, and add up the others."""
    s, e = frames_of(clean), frames_of(enhanced)
    level = 20 * np.log10(np.linalg.norm(s, axis=1) + 1e-16)
    kept = np.flatnonzero(level > level.max() - 40)
    joined = np.zeros((2, (len(kept) - 1) * HOP + FRAME))
    for place, frame in enumerate(kept):
        joined[0, place * HOP : place * HOP + FRAME] += s[frame]
        joined[1, place * HOP : place * HOP + FRAME] += e[frame]
    return joined


def third_octaves(x):
    """Envelopes of 15 third-octave bands from 150 Hz: [frames, bands]."""
    powers = np.abs(np.fft.rfft(frames_of(x), SIZE)) ** 2
    hertz = np.arange(SIZE // 2 + 1) * STOI_RATE / SIZE
    envelopes = []
    for band in range(BANDS):
        centre = 150 * 2 ** (band / 3)
        low, high = (np.argmin(np.abs(hertz - centre * 2 ** (p / 6))) for p in (-1, 1))
        envelopes.append(np.sqrt(powers[:, low:high].sum(axis=1)))
    return np.array(envelopes).T


def correlation(a, b):
    a, b = a - a.mean(), b - b.mean()
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def slow_stoi(clean, enhanced):
    """STOI of Taal et al. 2011 at 10 kHz, band by band and segment by segment."""
    s, e = map(third_octaves, without_pauses(clean, enhanced))
    found = []
    for end in range(SEGMENT, len(s) + 1):
        for x, y in zip(s[end - SEGMENT : end].T, e[end - SEGMENT : end].T, strict=True):
            scaled = y * np.linalg.norm(x) / np.linalg.norm(y)
            found.append(correlation(x, np.minimum(scaled, x * (1 + 10 ** (15 / 20)))))
    return np.mean(found)


def slow_estoi(clean, enhanced):
    """Extended STOI of Jensen and Taal 2016: bands normalised over time, then over each other."""
    s, e = map(third_octaves, without_pauses(clean, enhanced))
    found = []
    for end in range(SEGMENT, len(s) + 1):
        both = []
        for x in (s[end - SEGMENT : end], e[end - SEGMENT : end]):
            x = x - x.mean(axis=0)
            x = x / np.linalg.norm(x, axis=0)
            x = x - x.mean(axis=1, keepdims=True)
            both.append(x / np.linalg.norm(x, axis=1, keepdims=True))
        found.append(np.sum(both[0] * both[1]) / SEGMENT)
    return np.mean(found)


def test_intelligibility_of_every_file(rows, pairs):
    for number, row in enumerate(rows):
        low = [soxr.resample(x, RATE, STOI_RATE) for x in pairs[row["file"]]]
        expected = {"stoi": slow_stoi(*low), "estoi": slow_estoi(*low)}
        assert_allclose([row[n] for n in expected], list(expected.values()), atol=0.01)
        if number % 5 == 0:
            exact, _ = table.score(low[0], None, low[1], STOI_RATE, list(expected))
            assert_allclose([exact[n] for n in expected], list(expected.values()), atol=1e-4)
