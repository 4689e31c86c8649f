"""Word errors of clean, noisy, Wiener-filtered and enhanced speech at each SNR.

    python tools/words.py OUT --run runs/cp/bench

Mixes every AN4 test recording in ../shared/data, whole, with a recording of the test noise at
each SNR over the whole clip, enhances the mixtures with a trained run, and lets pocketsphinx
hear all of it with a grammar over the words of the transcripts. Writes OUT/words.csv.
"""

import argparse
import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from specmask.audio import io as audio_io  # noqa: E402
from specmask.audio import levels  # noqa: E402
from specmask.data.mixtures import mixing  # noqa: E402
from specmask.evaluation import pairing, word_errors  # noqa: E402

DATA = ROOT.parent / "shared" / "data"
SNRS_DB = (-5, 0, 5, 10, 15)
LEVEL_DB = -25
SILENT_DBFS = -60
RATE = 16000


def mix(out: Path, names: list[str]) -> Path:
    """Write OUT/clean/NAME.wav, OUT/noisy/SNR/NAME.wav and their manifest; return its path."""
    noise_root = DATA / "noise_test"
    noises = {p: _mono(noise_root / p) for p in audio_io.files(noise_root)}
    rows = []
    for number, name in enumerate(sorted(names)):
        clean, stem = _mono(DATA / "clean_test" / f"{name}.flac"), pairing.stem(name)
        for snr in SNRS_DB:
            rng = np.random.default_rng((number, snr + 100))
            noise, noise_file = np.zeros(1), Path()
            while levels.level_db(noise) < SILENT_DBFS:  # some clips begin with digital silence
                noise_file = list(noises)[rng.integers(len(noises))]
                noise = np.resize(noises[noise_file], len(clean))  # repeated if shorter
            gains = mixing.level_gains(clean, clean, noise, snr, LEVEL_DB, RATE)
            gains = mixing.fitting_gains(clean, clean, noise, *gains)
            found = mixing.apply_gains(clean, noise, *gains)
            path = out / "noisy" / f"{snr}" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio_io.write_pcm16(path, found.noisy, RATE)
            rows.append([f"{snr}/{stem}.wav", snr, noise_file.parent.name])
        (out / "clean").mkdir(exist_ok=True)
        audio_io.write_pcm16(out / "clean" / f"{stem}.wav", levels.to_int16(clean), RATE)
    with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["noisy_file", "snr_db", "noise_type"], *rows])
    return out / "manifest.csv"


def _mono(path: Path) -> np.ndarray:
    samples, rate = audio_io.read(path)
    return audio_io.resample(audio_io.to_mono(samples), rate, RATE)


def main() -> None:
    """Make what is missing in the folder and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the mixtures and words.csv")
    parser.add_argument("--run", type=Path, required=True, help="trained run, a folder in cp/")
    args = parser.parse_args()
    transcripts = word_errors.read_transcripts(DATA / "transcripts" / "clean_test.tsv")
    manifest = mix(args.out, list(transcripts))

    from specmask.enhancement import enhancer, folder, inputs

    model = enhancer.load(args.run)
    recordings = inputs.find_recordings([args.out / "noisy"], args.out / "enhanced")
    folder.enhance_folder(recordings, args.out / "enhanced", model, 10)
    folders = {"enhanced": args.out / "enhanced"}
    tasks = pairing.items(args.out / "clean", folders, args.out / "noisy", ["wiener"], manifest)
    recogniser = word_errors.sphinx(transcripts.values())
    rows = word_errors.recognise(tasks, transcripts, recogniser)
    word_errors.write(args.out, rows)
    print(word_errors.table(word_errors.summary(rows)))


main()
