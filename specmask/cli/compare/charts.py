"""Pictures as PNG: spectrograms before and after, charts of means (matplotlib, extra ``plots``)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specmask import files
from specmask.audio.spectrogram import import_matplotlib

MARKERS = "osD^vP*X<>"


@dataclass(frozen=True)
class Point:
    """A mean with its interval, whose ends are NaN if there is none, at a number or a name."""

    x: str | float
    mean: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Chart:
    """Series of points; numbers lie on a logarithmic axis, names side by side in their order."""

    x_label: str
    y_label: str
    series: Mapping[str, Sequence[Point]]
    joined: bool = False


def charts(lines: Sequence[Sequence[Chart]], picture: Path) -> None:
    """Draw lines of charts above each other, with one legend; nothing if there are none."""
    if not any(lines):
        return
    width, height = max(map(len, lines)), len(lines)
    sheet = import_matplotlib("figures").Figure(
        figsize=(6.5 * width, 3.2 * height + 1), layout="constrained"
    )
    grid = sheet.subplots(height, width, squeeze=False)
    for line, places in zip(lines, grid, strict=True):
        for chart, axes in zip(line, places, strict=False):
            _chart(chart, axes)
    handles, labels = grid[0][0].get_legend_handles_labels()
    sheet.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)))
    with files.replacing(picture) as temporary:
        sheet.savefig(temporary, format="png", dpi=100)


def _chart(chart: Chart, axes: Any) -> None:
    names = list(dict.fromkeys(p.x for s in chart.series.values() for p in s))
    named = all(isinstance(x, str) for x in names)
    for number, (label, points) in enumerate(chart.series.items()):
        shift = 0.5 * (number + 0.5) / len(chart.series) - 0.25 if named else 0
        at = [names.index(p.x) + shift if named else p.x for p in points]
        ends = [[p.mean - p.low for p in points], [p.high - p.mean for p in points]]
        axes.errorbar(
            at,
            [p.mean for p in points],
            np.maximum(0, np.nan_to_num(ends)),
            label=label,
            marker=MARKERS[number % len(MARKERS)],
            linestyle="-" if chart.joined else "",
            capsize=3,
        )
    turned = {"rotation": 45, "ha": "right"} if len(names) > 5 else {}
    if named:
        axes.set_xticks(range(len(names)), names, **turned)
    else:  # ticks where there are points
        axes.set_xscale("log")
        axes.set_xticks(names, [f"{x:.4g}" for x in names], **turned)
        axes.set_xticks([], minor=True)
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.grid(alpha=0.3)
