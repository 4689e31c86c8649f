"""Options of enhancement, evaluation and computation: [enhance], [evaluate], [compute]."""

from pathlib import Path
from typing import Literal

from specmask.config.types import Section, option


class Enhance(Section):
    """How recordings are enhanced."""

    input_path: Path = option(
        "", "folder or file to enhance; empty: the noisy files of the test set"
    )
    output_path: Path = option("enhanced", "folder that receives the enhanced files")
    checkpoint: Path = option(
        "",
        "run in cp/ or file of export.py; empty: the newest run of [train] run_name, else of any "
        "name, else the default model",
    )
    runtime: Literal["auto", "tensorflow", "litert", "onnx"] = option(
        "auto",
        "litert or onnx: the export that export.py wrote into the folder of the run; "
        "auto: one of them if it is up to date, else tensorflow",
    )
    channels: Literal["linked", "separate", "mid"] = option(
        "linked",
        "linked: one mask for all channels keeps the stereo image; separate: one per channel; "
        "mid: one for all, from their mean, at the cost of one channel",
    )
    highband: Literal["keep", "drop"] = option(
        "keep", "band above the model's: keep with the gain of the mask's highest bins, or drop"
    )
    format: Literal["as input", "wav", "flac"] = option("as input", "format of the enhanced files")
    max_suppression_db: float = option(
        200, "largest attenuation of a bin of the spectrum, in dB", ge=0, le=200
    )
    mix: float = option(
        1, "share of the enhanced sound, the rest is the input; 1: enhanced only", ge=0, le=1
    )
    post_gain_db: float = option(0, "gain of the result in dB", ge=-60, le=60)
    block_seconds: float = option(10, "audio held in memory at a time, in seconds", ge=0.1, le=600)


class Evaluate(Section):
    """How enhanced files are scored, and the bounds of ``evaluate.py --gate``."""

    report_path: Path = option("report", "folder that receives scores and report")
    dnsmos: bool = option(
        False, "yes: also predict ratings by DNSMOS P.835 (extra dnsmos; 0.5 s per file)"
    )
    page_files: int = option(12, "files on the listening page: worst, median, best", ge=0, le=1000)
    music_path: Path = option(
        "", "folder of music for the do-no-harm check; empty: a chord that it makes"
    )
    harm_files: int = option(
        20, "clean files, and pieces of 10 s of music, of the do-no-harm check", ge=1
    )
    gate_si_sdr_improvement: float = option(
        0, "gate: lowest mean SI-SDR improvement of the test set, in dB", ge=-100, le=100
    )
    gate_speech_si_sdr: float = option(
        12, "gate: lowest mean SI-SDR of clean speech to itself, in dB", ge=-100, le=100
    )
    gate_speech_level: float = option(
        1.5, "gate: largest mean change up or down of its level, in dB", ge=0, le=100
    )
    gate_speech_wer: float = option(
        10,
        "gate: largest rise of its word error rate in points (with --transcripts)",
        ge=-100,
        le=1000,
    )
    gate_voice_si_sdr: float = option(
        12,
        "gate: lowest mean SI-SDR of clean speech of any pitch, level or band, in dB",
        ge=-100,
        le=100,
    )
    gate_voice_level: float = option(
        1.5, "gate: largest mean change up or down of its level, in dB", ge=0, le=100
    )
    gate_voice_dropped: float = option(
        2, "gate: largest share of its frames that lose over 6 dB, in %", ge=0, le=100
    )
    gate_silence_level: float = option(
        -80, "gate: highest output level for silence, in dBFS", ge=-200, le=0
    )
    gate_music_gain: float = option(
        1, "gate: highest gain of a piece of music in dB; a loss is allowed", ge=0, le=100
    )


class Compute(Section):
    """Where the work is done."""

    workers: int = option(
        0, "processes for data, cache, enhancement and scores; 0: one per core", ge=0, le=1024
    )
    engine: Literal["local", "dask", "ray"] = option(
        "local", "where data_prep.py and enhance.py work: on this machine, a Dask or a Ray cluster"
    )
    address: str = option(
        "", "address of the cluster, e.g. tcp://host:8786; empty: start one on this machine"
    )
