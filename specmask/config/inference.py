"""Options of the use of a network: [enhance], [evaluate] and [compute]."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from specmask.config.types import Section


class Enhance(Section):
    """How recordings are enhanced."""

    input_path: Path = Field(
        "", description="folder or file to enhance; empty: the noisy files of the test set"
    )
    output_path: Path = Field("enhanced", description="folder that receives the enhanced files")
    checkpoint: Path = Field(
        "",
        description="run in cp/ or file of export.py; empty: the newest run of [train] run_name",
    )
    runtime: Literal["tensorflow", "onnx"] = Field(
        "tensorflow",
        description="tensorflow, or onnx: what export.py wrote into the run's folder exports",
    )
    channels: Literal["linked", "separate", "mid"] = Field(
        "linked",
        description=(
            "linked: one mask for all channels keeps the stereo image; separate: one each; "
            "mid: one for all, from their mean, at the cost of one channel"
        ),
    )
    highband: Literal["keep", "drop"] = Field(
        "keep",
        description="what lies above the model's band: keep at the gain of the mask's top, or drop",
    )
    format: Literal["as input", "wav", "flac"] = Field(
        "as input", description="format of the enhanced files"
    )
    max_suppression_db: float = Field(
        200, ge=0, le=200, description="no bin of the spectrum is attenuated by more than this, dB"
    )
    mix: float = Field(
        1, ge=0, le=1, description="share of the enhanced sound; the rest is the input, in phase"
    )
    post_gain_db: float = Field(0, ge=-60, le=60, description="gain of the result in dB")
    block_seconds: float = Field(
        10, ge=0.1, le=600, description="audio held in memory at a time, in seconds"
    )


class Evaluate(Section):
    """How enhanced files are scored, and the bounds of ``evaluate.py --gate``."""

    report_path: Path = Field("report", description="folder that receives scores and report")
    dnsmos: bool = Field(
        False,
        description="yes: also predict ratings by DNSMOS P.835 (extra dnsmos; 0.5 s a file)",
    )
    page_files: int = Field(
        12, ge=0, le=1000, description="files on the listening page: worst, median, best"
    )
    music_path: Path = Field(
        "", description="folder of music for the do-no-harm check; empty: a chord that it makes"
    )
    harm_files: int = Field(
        20, ge=1, description="clean files, and pieces of 10 s of music, of the do-no-harm check"
    )
    gate_si_sdr_improvement: float = Field(
        0, ge=-100, le=100, description="gate: lowest mean SI-SDR improvement of the test set, dB"
    )
    gate_speech_si_sdr: float = Field(
        12, ge=-100, le=100, description="gate: lowest mean SI-SDR of clean speech to itself, dB"
    )
    gate_speech_level: float = Field(
        1.5, ge=0, le=100, description="gate: largest mean change up or down of its level, dB"
    )
    gate_speech_wer: float = Field(
        10,
        ge=-100,
        le=1000,
        description="gate: largest rise of its word error rate in points (with --transcripts)",
    )
    gate_silence_level: float = Field(
        -80, ge=-200, le=0, description="gate: highest level that comes out of silence, dBFS"
    )
    gate_music_gain: float = Field(
        1, ge=0, le=100, description="gate: highest gain of a piece of music, dB; a loss is allowed"
    )


class Compute(Section):
    """Where the work is done."""

    workers: int = Field(
        0, ge=0, le=1024, description="processes for data, cache and scores; 0: one a core"
    )
    engine: Literal["local", "dask", "ray"] = Field(
        "local",
        description="what makes the data set: processes of this machine, or a Dask or Ray cluster",
    )
    address: str = Field(
        "",
        description="where the cluster answers, e.g. tcp://host:8786; empty: start one here",
    )
