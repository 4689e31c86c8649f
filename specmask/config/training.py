"""Options of the training: [train]."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from specmask.config.types import BAND_LOW_HZ, LOSSES, LossWeights, NameList, NumberRange, Section


class Train(Section):
    """How the network is trained: see docs/training.md."""

    run_name: str = Field(
        "run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$",
        description="name of the run, a folder in cp/ and logs/; --fresh appends -2, -3, ...",
    )
    checkpoint_path: Path = Field("cp", description="folder of the checkpoints, one folder a run")
    log_path: Path = Field("logs", description="folder of the TensorBoard logs, one folder a run")
    initial_weights: Path = Field(
        "", description="run folder or .npz whose weights a new run starts from; empty: random ones"
    )
    frozen_layers: NameList = Field(
        [], description="layers that are not trained: names or patterns such as conv*"
    )
    epochs: int = Field(20, ge=1, description="number of epochs; each ends with a validation")
    epoch_steps: int = Field(
        0, ge=0, description="steps of an epoch; 0: as many as take every training file once"
    )
    batch_size: int = Field(8, ge=1, le=65536, description="mixtures a step, over all replicas")
    accumulation: int = Field(
        1,
        ge=1,
        le=65536,
        description="parts of a batch that are computed one after the other, to save memory",
    )
    optimizer: Literal["adam", "adamw", "muon"] = Field(
        "adam",
        description="adam; adamw: with weight_decay; muon: matrices by orthogonal steps, the rest "
        "as adamw",
    )
    learning_rate: float = Field(2e-3, gt=0, le=10, description="(highest) learning rate")
    weight_decay: float = Field(
        0.01,
        ge=0,
        le=1,
        description="of adamw and muon: share of a weight taken off a step, times the rate",
    )
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="after the warm-up: constant; cosine to 1 % at the end; plateau: lower it "
        "when the validation loss stays",
    )
    warmup_steps: int = Field(100, ge=0, description="steps of linear warm-up")
    plateau_epochs: int = Field(
        3, ge=1, description="plateau: epochs without a better loss before the rate is lowered"
    )
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="plateau: what the rate is multiplied by"
    )
    gradient_clip: float = Field(
        1.0, ge=0, description="largest global norm of the gradient; 0: no limit"
    )
    ema: float = Field(
        0.999,
        ge=0,
        lt=1,
        description="decay of the running mean of the weights, which is validated and exported; "
        "0: off",
    )
    patience: int = Field(
        0, ge=0, description="stop after so many epochs without a better loss; 0: never"
    )
    max_skipped: int = Field(
        10, ge=1, description="stop after so many steps in a row without a finite gradient"
    )
    loss: LossWeights = Field(
        {"compressed": 1.0}, description=f"parts and their weights, any of {', '.join(LOSSES)}"
    )
    complex_weight: float = Field(
        0.113, ge=0, description="weight of the complex part of the compressed loss (lambda)"
    )
    speech_weight: float = Field(
        0.5, ge=0, le=1, description="of speech_noise: weight of the speech; the rest: of the noise"
    )
    crop_seconds: float = Field(
        0, ge=0, le=600, description="train on random crops of this length; 0: whole files"
    )
    remix: bool = Field(
        False,
        description="yes: each step pairs its clean files with other noise at new SNRs and levels",
    )
    remix_noises: int = Field(
        1, ge=1, le=16, description="with remix: 1 to this many noises in a mixture"
    )
    remix_snr_db: NumberRange = Field(
        [], description="with remix: lowest and highest SNR, e.g. -6, 15; empty: those of [data]"
    )
    remix_gain_db: float = Field(
        10,
        ge=0,
        le=60,
        description="with remix: the level of a mixture varies by up to +- this, in dB",
    )
    remix_tilt_db: float = Field(
        0,
        ge=0,
        le=30,
        description="with remix: smooth random equaliser of speech and of noise, up to +- this, dB",
    )
    remix_band_probability: float = Field(
        0, ge=0, le=1, description="with remix: share of mixtures that are limited to a band"
    )
    remix_band_hz: NumberRange = Field(
        [3400, 7000],
        description="with remix: lowest and highest upper edge of a band; the lower edge is up to "
        f"{BAND_LOW_HZ} Hz",
    )
    checkpoint_minutes: float = Field(
        5, gt=0, description="also save inside an epoch, every so many minutes"
    )
    keep_checkpoints: int = Field(3, ge=1, le=1000, description="number of last checkpoints kept")
    metric_files: int = Field(
        40, ge=1, description="validation files scored by SDR, STOI and PESQ after each epoch"
    )
    listen_files: int = Field(
        3, ge=0, le=100, description="of these: how many TensorBoard plays and shows"
    )
    log_steps: int = Field(
        10, ge=1, description="TensorBoard gets the training loss every so many steps"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="of the computation; weights are always float32"
    )
    jit_compile: bool = Field(False, description="compile the training step with XLA")
    deterministic: bool = Field(
        True, description="yes: the same bits on every run and after every resume; costs some time"
    )
    strategy: Literal["default", "mirrored", "multi_worker"] = Field(
        "default",
        description="default: one device; mirrored: all GPUs of this machine; multi_worker: the "
        "machines in the environment variable TF_CONFIG",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the weights, the order and the remix")

    @model_validator(mode="after")
    def _check(self) -> "Train":
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
