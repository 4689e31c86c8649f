"""Charts of a comparison as PNG (matplotlib, extra ``plots``)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files
from specmask.audio.spectrogram import import_matplotlib
from specmask.evaluation import report
from specmask.evaluation.metrics.table import METRICS

MARKERS = "osD^vP*X<>"
DRAWN = ("si_sdr_improvement", "pesq_wb", "pesq_nb", "stoi")
SECTIONS = {"by_snr": "SNR of the noisy file", "by_noise": "noise"}
COSTS = {
    "latency_ms": ("latency in ms", 1),
    "multiply_adds_a_second": ("M multiply-adds/s", 1e6),
}


def scores(content: Mapping, picture: Path) -> None:
    """Draw a summary by SNR and by noise type, a line of charts per metric."""
    systems = content["systems"]
    sections = {s: title for s, title in SECTIONS.items() if report.labels(content, s)}

    def draw(axes: Any, name: str, section: str) -> None:
        labels = report.labels(content, section)
        for number, (system, m) in enumerate(systems.items()):
            groups = {k: g for k, g in m.get(section, {}).items() if name in g["metrics"]}
            shift = 0.5 * (number + 0.5) / len(systems) - 0.25  # side by side
            positions = [labels.index(label) + shift for label in groups]
            means = [group["metrics"][name] for group in groups.values()]
            _plot(axes, number, system, positions, means, joined=section == "by_snr")
        axes.set_xticks(range(len(labels)), labels, **_turned(labels))
        axes.set_xlabel(sections[section])

    _sheet(content, sections, draw, picture)


def tradeoff(content: Mapping, picture: Path) -> None:
    """Draw the means of recipes against latency and multiply-adds, a line of charts per metric."""
    recipes = content["recipes"]

    def draw(axes: Any, name: str, cost: str) -> None:
        title, unit = COSTS[cost]
        values = [recipe[cost] / unit for recipe in recipes.values()]
        for number, (label, x) in enumerate(zip(recipes, values, strict=True)):
            metrics = content["systems"][label]["metrics"]
            _plot(axes, number, label, [x], [metrics[name]] if name in metrics else [])
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{x:.4g}" for x in values], **_turned(values))
        axes.set_xticks([], minor=True)
        axes.set_xlabel(title)

    _sheet(content, COSTS, draw, picture)


def _plot(
    axes: Any,
    number: int,
    label: str,
    positions: Sequence[float],
    means: Sequence[Mapping],
    joined: bool = False,
) -> None:
    """Plot means with the ends of their intervals."""
    mean, low, high = (
        np.array([np.nan if m[key] is None else m[key] for m in means])
        for key in ("mean", "low", "high")
    )
    axes.errorbar(
        positions[: len(means)],
        mean,
        np.maximum(0, np.nan_to_num([mean - low, high - mean])),
        label=label,
        marker=MARKERS[number % len(MARKERS)],
        linestyle="-" if joined else "",
        capsize=3,
    )


def _turned(labels: Sequence) -> dict[str, Any]:
    return {"rotation": 45, "ha": "right"} if len(labels) > 5 else {}


def _sheet(content: Mapping, columns: Mapping, draw: Any, picture: Path) -> None:
    """Draw a chart per metric (rows) and column, with one legend; nothing if there are none."""
    names = [name for name in DRAWN if name in content["metrics"]]
    if not (names and columns):
        return
    sheet = import_matplotlib("figures").Figure(
        figsize=(6.5 * len(columns), 3.2 * len(names) + 1), layout="constrained"
    )
    grid = sheet.subplots(len(names), len(columns), squeeze=False)
    for name, line in zip(names, grid, strict=True):
        for column, axes in zip(columns, line, strict=True):
            draw(axes, name, column)
            axes.set_ylabel(METRICS[name].label)
            axes.grid(alpha=0.3)
    handles, labels = grid[0][0].get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    with files.replacing(picture) as temporary:
        sheet.savefig(temporary, format="png", dpi=100)
