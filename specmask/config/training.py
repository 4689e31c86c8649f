"""Options of the training: [train]."""

import functools
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from specmask.config.types import (
    BAND_LOW_HZ,
    LOSSES,
    OTHER_EXAMPLES,
    OTHER_LOSS,
    ROUNDING,
    LossWeights,
    NameList,
    NumberRange,
    OnResume,
    Section,
    option,
    refused,
)

_remix = functools.partial(option, on_resume=OTHER_EXAMPLES)


class Train(Section):
    """How the network is trained: see docs/training.md."""

    run_name: str = option(
        "run",
        "name of the run, a folder in cp/ and logs/; --fresh appends -2, -3, ...",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
    )
    checkpoint_path: Path = option("cp", "folder of the checkpoints, one folder per run")
    log_path: Path = option("logs", "folder of the TensorBoard logs, one folder per run")
    initial_weights: Path = option(
        "",
        "run folder or .npz whose weights a new run starts from; empty: random ones",
        on_resume=OnResume("no effect: the run has begun"),
    )
    frozen_layers: NameList = option(
        [],
        "layers that are not trained: names or patterns such as conv*",
        on_resume=refused("the optimizer's state does not fit"),
    )
    epochs: int = option(
        20,
        "number of epochs; each ends with a validation",
        ge=1,
        on_resume=OnResume("the schedule is stretched to the new end"),
    )
    epoch_steps: int = option(
        0,
        "steps per epoch; 0: as many as take every training file once",
        ge=0,
        on_resume=OnResume(
            "the running epoch starts again, the schedule is stretched to the new end",
            restarts_epoch=True,
        ),
    )
    batch_size: int = option(
        8,
        "mixtures per step, over all replicas",
        ge=1,
        le=65536,
        on_resume=refused("the order of the data depends on it"),
    )
    accumulation: int = option(
        1,
        "parts of a batch computed one after the other, to save memory",
        ge=1,
        le=65536,
        on_resume=ROUNDING,
    )
    parts: int = option(
        0,
        "parts of a batch computed side by side, each operation on one thread: the same bits on "
        "any number of cores; 1: all threads share the whole batch, and results may differ by "
        "rounding; 0: up to 4 if deterministic, else 1",
        ge=0,
        le=1024,
        on_resume=ROUNDING,
    )
    optimizer: Literal["adam", "adamw", "muon"] = option(
        "muon",
        "adam; adamw: with weight_decay; muon: matrices by orthogonal steps, the rest as adamw",
        on_resume=refused("its state does not fit"),
    )
    muon_convolutions: bool = option(
        False,
        "muon: also kernels of convolutions, as matrices of all their inputs",
        on_resume=refused("its state does not fit"),
    )
    learning_rate: float = option(8e-3, "(highest) learning rate", gt=0, le=10)
    weight_decay: float = option(
        0.01, "adamw, muon: decay of the weights per step, times the learning rate", ge=0, le=1
    )
    schedule: Literal["constant", "cosine", "plateau", "hold"] = option(
        "cosine",
        "after the warm-up: constant; cosine to 1 % at the end; plateau: lower "
        "when the validation loss no longer falls; hold: constant, then linearly to 1 %",
    )
    decay_share: float = option(
        0.2, "hold: share of the steps in which the learning rate falls", gt=0, le=1
    )
    warmup_steps: int = option(100, "steps of linear warm-up", ge=0)
    plateau_epochs: int = option(
        3, "plateau: epochs without a better loss before the learning rate is lowered", ge=1
    )
    plateau_factor: float = option(0.5, "plateau: factor of the learning rate", gt=0, lt=1)
    gradient_clip: float = option(1.0, "largest global norm of the gradient; 0: no limit", ge=0)
    ema: float = option(
        0.999,
        "decay of the running mean of the weights, which is validated and exported; 0: off",
        ge=0,
        lt=1,
        on_resume=refused("the running mean was made with it"),
    )
    patience: int = option(
        0,
        "epochs without a better loss after which training stops; 0: never",
        ge=0,
        on_resume=OnResume("it counts from the best epoch so far"),
    )
    max_skipped: int = option(
        10, "steps in a row without a finite gradient after which training stops", ge=1
    )
    loss: LossWeights = option(
        {"compressed": 1.0},
        f"terms and their weights, any of {', '.join(LOSSES)}",
        on_resume=OTHER_LOSS,
    )
    complex_weight: float = option(
        0.113, "compressed: weight of its complex term (lambda)", ge=0, on_resume=OTHER_LOSS
    )
    speech_weight: float = option(
        0.5,
        "speech_noise: weight of the speech; 1 minus it: of the noise",
        ge=0,
        le=1,
        on_resume=OTHER_LOSS,
    )
    crop_seconds: float = option(
        0,
        "length of random crops in seconds; 0: whole files",
        ge=0,
        le=600,
        on_resume=OTHER_EXAMPLES,
    )
    remix: bool = _remix(
        False, "yes: each step pairs its clean files with other noise at new SNRs and levels"
    )
    remix_noises: int = _remix(1, "with remix: largest number of noises in a mixture", ge=1, le=16)
    remix_snr_db: NumberRange = _remix(
        [], "with remix: lowest and highest SNR, e.g. -6, 15; empty: those of [data]"
    )
    remix_gain_db: float = _remix(
        10, "with remix: largest change up or down of the level of a mixture, in dB", ge=0, le=60
    )
    remix_tilt_db: float = _remix(
        0,
        "with remix: largest gain or loss of a random equaliser of speech and of noise, in dB",
        ge=0,
        le=30,
    )
    remix_band_probability: float = _remix(
        0, "with remix: probability that a mixture is limited to a band", ge=0, le=1
    )
    remix_band_hz: NumberRange = _remix(
        [3400, 7000],
        "with remix: lowest and highest upper edge of a band; the lower edge is up to "
        f"{BAND_LOW_HZ} Hz",
    )
    remix_rumble_probability: float = _remix(
        0, "with remix: share of mixtures whose noise has louder low tones", ge=0, le=1
    )
    remix_rumble_db: float = _remix(
        30,
        "with remix: largest rise of that noise below a corner of 50 to 200 Hz, in dB",
        ge=0,
        le=60,
    )
    checkpoint_minutes: float = option(5, "minutes between checkpoints inside an epoch", gt=0)
    keep_checkpoints: int = option(3, "number of newest checkpoints kept", ge=1, le=1000)
    metric_files: int = option(
        40,
        "validation files scored by SI-SDR, SI-SDRi, SDR, SNRi, STOI and PESQ after each epoch",
        ge=1,
        on_resume=OnResume("the scores are over other files"),
    )
    listen_files: int = option(
        3, "how many of these are in TensorBoard, as sound and spectrogram", ge=0, le=100
    )
    log_steps: int = option(10, "steps between training losses in TensorBoard", ge=1)
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = option(
        "float32",
        "precision of the computation; weights are always float32",
        on_resume=refused("its state does not fit"),
    )
    jit_compile: bool = option(False, "compile the training step with XLA", on_resume=ROUNDING)
    deterministic: bool = option(
        True,
        "yes: the same bits in every run and after every resume; no: results differ by rounding, "
        "without being faster on CPUs",
        on_resume=ROUNDING,
    )
    strategy: Literal["default", "mirrored", "multi_worker"] = option(
        "default",
        "default: one device; mirrored: all GPUs of this machine; multi_worker: the "
        "machines in the environment variable TF_CONFIG",
        on_resume=ROUNDING,
    )
    seed: int = option(
        0,
        "seed of the weights, the order of the data and remix",
        ge=0,
        lt=2**31,
        on_resume=refused("the order of the data depends on it"),
    )

    @model_validator(mode="after")
    def _check(self) -> "Train":
        if self.parts > 1 and self.strategy != "default":
            raise ValueError(
                f"parts = {self.parts} does not go with strategy = {self.strategy}; set one of "
                "them to its default"
            )
        if self.jit_compile and self.strategy != "default":
            raise ValueError(
                f"jit_compile = yes does not go with strategy = {self.strategy}; set one of them "
                "to its default"
            )
        if self.remix_band_probability and min(self.remix_band_hz, default=0) <= BAND_LOW_HZ:
            raise ValueError(
                f"remix_band_hz must be two numbers above {BAND_LOW_HZ}, the highest lower edge of "
                "a band; e.g. 3400, 7000"
            )
        return self
