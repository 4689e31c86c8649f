"""The gate and the probes of evaluate.py."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from specmask.audio import io
from specmask.cli import console
from specmask.config import ini
from specmask.config.schema import Config
from specmask.enhancement import array, enhancer
from specmask.enhancement.enhancer import Enhancer
from specmask.enhancement.postprocess import Knobs
from specmask.errors import UserError
from specmask.evaluation import file_lists, gate, probe, report, word_errors


def load(settings: Config) -> tuple[Enhancer, list[Path]]:
    """Return the model of a configuration and the music of the gate; print the model's path."""
    folder = settings.evaluate.music_path
    music = [folder / name for name in io.files(folder)] if folder != Path() else []
    if folder != Path() and not music:
        raise UserError(f"[evaluate] music_path = {folder}: no audio files; correct the path")
    model, path = enhancer.from_config(settings)
    print(f"gate: measures {path} with the settings of [enhance]")
    return model, music


def check(
    model: Enhancer,
    music: Sequence[Path],
    settings: Config,
    clean: Mapping[str, Path],
    rows: Sequence[Mapping],
    recogniser: tuple | None,
) -> tuple[dict, list[str]]:
    """Return the figures of the gate and the violated bounds; print the figures."""
    enhance, count = partial(array.enhance, model=model), settings.evaluate.harm_files
    speech = list(clean.values())
    found = gate.measure(enhance, speech, music, model.rate, count)
    probes = probe.measure(enhance, probe.make(speech, model.rate, count, probe.GATE))
    words = None
    if recogniser:
        words_of = word_errors.finder(recogniser[0])
        known = [(path, text) for name, path in clean.items() if (text := words_of(name))]
        words = gate.words(enhance, known, recogniser[1], count)
    print(gate.table(found, words), probe.table(probes), sep="\n\n", end="\n\n")
    own = [row for row in rows if row["system"] == "enhanced"]
    improvement = report.mean(own, "si_sdr_improvement")["mean"]
    if improvement is None:
        print("gate: no SI-SDR improvement to check; name noisy files with --noisy")
    figures = {
        "harm": gate.means(found),
        "probes": probe.means(probes),
        "harm_words": {k: asdict(e) for k, e in words.items()} if words else None,
    }
    violations = []
    if silent := report.muted(own):
        violations.append(
            f"enhanced files: {len(silent)} of {len(own)} are silent and their clean ones are not, "
            f"the first {silent[0]['file']}"
        )
    violations += gate.violations(found, improvement, settings, words)
    return figures, violations + probe.violations(probes, settings)


def run_probes(args: Namespace) -> int:
    """Print what a model, or another program, does to the probes; or write them for it."""
    settings = ini.load(args.config, args.set)
    if args.probe and args.probe_set:
        print(probe.table(probe.measure_folder(args.probe_set, Path(args.probe))))
        return console.EXIT_OK
    clean = args.clean or settings.stft.folder("CleanSpeech", "testing")
    speech, count = list(file_lists.index(clean).values()), settings.evaluate.harm_files
    if args.probe_set:
        made = probe.make(speech, settings.data.sample_rate, count)
        number = probe.write_set(args.probe_set, made)
        print(f"{number} probes -> {args.probe_set / probe.INPUTS}")
        return console.EXIT_OK
    c, knobs = settings.enhance, Knobs.from_config(settings)
    model = enhancer.load(args.probe, c.channels, c.highband, knobs, c.runtime)
    enhance = partial(array.enhance, model=model)
    print(probe.table(probe.measure(enhance, probe.make(speech, model.rate, count))))
    return console.EXIT_OK
