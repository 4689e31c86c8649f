"""What a comparison came to: tables of means and costs, figures, and all of it as JSON.

Written into its folder:
    table.md        the tables
    scores.csv      a row a file and part
    summary.json    means with intervals, tests, commands, versions, seeds, costs, losses
    scores.png      scores by SNR and by noise type
    tradeoff.png    scores against latency and against multiply-adds
"""

import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from specmask import files
from specmask.cli.compare import charts as charting
from specmask.cli.compare.charts import Chart, Point
from specmask.cli.compare.runner import Comparison
from specmask.config import ini
from specmask.evaluation import provenance, report, scoring
from specmask.evaluation.report import COLUMNS

SHOWN = ("si_sdr", "si_sdr_improvement", "pesq_wb", "pesq_nb", "stoi", "estoi")  # in table.md
COST_HEAD = (
    *("recipe", "seeds", "parameters", "M mult-adds/s", "latency ms", "steps", "minutes"),
    *("first loss", "last loss", "SI-SDRi dB by seed"),
)
DRAWN = ("si_sdr_improvement", "pesq_wb", "pesq_nb", "stoi")


def pooled(comparison: Comparison, rows: Sequence[Mapping]) -> list[dict]:
    """Return the rows with the recipe as their system, and the seed beside it."""
    parts = {part.name: part for part in comparison.done}
    found = []
    for row in rows:
        part = parts.get(row["system"])
        own = {"system": part.recipe.label, "seed": part.config.train.seed} if part else {}
        found.append(dict(row) | own)
    return found


def costs(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return what each recipe is and took, with its trainings, by its label."""
    found: dict[str, dict[str, Any]] = {}
    for part in comparison.done:
        p, own = part.progress, dict(comparison.costs(part))
        weights = own.pop("weights")
        entry = found.setdefault(
            part.recipe.label,
            {"file": str(part.recipe.path), "options": list(part.recipe.options), **own}
            | {"steps": p.total_steps, "trainings": []},
        )
        entry["trainings"].append(
            {
                "seed": part.config.train.seed,
                "command": part.command,
                "steps": p.total_steps,
                "minutes": p.seconds / 60,
                "first_loss": _loss(p.history[0]),
                "last_loss": _loss(p.history[-1]),
                "best_epoch": p.best_epoch,
                "weights": weights,
            }
        )
    return found


def _loss(row: Mapping[str, float]) -> float | None:
    return report.finite(row.get("validation_loss", row["training_loss"]))


def warnings(recipes: Mapping[str, Mapping]) -> list[str]:
    """Return a line for each training whose loss has not fallen."""
    return [
        f"warning: {label}, seed {t['seed']}: the validation loss has not fallen "
        f"({t['first_loss']:.5f} to {t['last_loss']:.5f}): its scores say little about the recipe"
        for label, recipe in recipes.items()
        for t in recipe["trainings"]
        if None not in (t["first_loss"], t["last_loss"])
        and t["last_loss"] >= t["first_loss"]
        and recipe["steps"] > 1
    ]


def cost_table(recipes: Mapping[str, Mapping], rows: Sequence[Mapping]) -> list[list[str]]:
    """Return a line for each recipe: parameters, costs, steps, losses, scores by seed."""
    lines = [list(COST_HEAD)]
    for label, recipe in recipes.items():
        trainings = recipe["trainings"]
        own = [row for row in rows if row["system"] == label]
        by_seed = [[r for r in own if r["seed"] == t["seed"]] for t in trainings]
        lines.append(
            [
                label,
                ", ".join(str(t["seed"]) for t in trainings),
                f"{recipe['parameters']:,}",
                f"{recipe['multiply_adds_a_second'] / 1e6:.1f}",
                f"{recipe['latency_ms']:.0f}" + ("" if recipe["causal"] else " (not causal)"),
                f"{recipe['steps']:,}",
                f"{_mean([t['minutes'] for t in trainings]):.1f}",
                f"{_mean([t['first_loss'] for t in trainings]):.5f}",
                f"{_mean([t['last_loss'] for t in trainings]):.5f}",
                ", ".join(
                    f"{report.mean(members, 'si_sdr_improvement').mean:.2f}" for members in by_seed
                ),
            ]
        )
    return lines


def _mean(values: Sequence[float | None]) -> float:
    known = [math.nan if v is None else v for v in values]
    return sum(known) / len(known)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose first line is its head."""
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def charts(rows: Sequence[Mapping]) -> list[list[Chart]]:
    """Return the scores by SNR and by noise type: a line of charts a metric."""
    found = []
    for name in (n for n in DRAWN if n in report.columns(rows)):
        line = []
        for section, members in report.groups(rows).items():
            series: dict[str, list[Point]] = {}
            for label, group in members.items():
                for system, own in report.by_system(group).items():
                    series.setdefault(system, []).append(_point(label, own, name))
            title = {"by_snr": "SNR of the noisy file", "by_noise": "noise"}[section]
            line.append(Chart(title, COLUMNS[name].label, series, section == "by_snr"))
        found.append(line)
    return found


def tradeoff(recipes: Mapping[str, Mapping], rows: Sequence[Mapping]) -> list[list[Chart]]:
    """Return the scores against latency and against multiply-adds: a line of charts a metric."""
    axes = {
        "latency_ms": ("latency in ms", 1),
        "multiply_adds_a_second": ("M multiply-adds/s", 1e6),
    }
    systems = report.by_system(rows)
    return [
        [
            Chart(
                title,
                COLUMNS[name].label,
                {
                    x: [_point(recipe[key] / unit, systems[x], name)]
                    for x, recipe in recipes.items()
                },
            )
            for key, (title, unit) in axes.items()
        ]
        for name in DRAWN
        if name in report.columns(rows)
    ]


def _point(x: str | float, rows: Sequence[Mapping], name: str) -> Point:
    m = report.mean(rows, name)
    return Point(x, m.mean, m.low, m.high)


def write(comparison: Comparison, scored: Sequence[Mapping], command: str) -> str:
    """Write everything and return the tables as text."""
    out, rows, recipes = comparison.out, pooled(comparison, scored), costs(comparison)
    table = cost_table(recipes, rows)
    means = [["system", *(COLUMNS[n].label for n in SHOWN if n in report.columns(rows))]]
    means += [
        [system, *(report.cell(own, n) for n in SHOWN if n in report.columns(rows))]
        for system, own in report.by_system(rows).items()
    ]
    lacks = warnings(recipes)
    lacks += [
        f"warning: {part.name}: not trained to its end, left out" for part in comparison.failed
    ]
    notes = [*comparison.data_notes(), *lacks]
    text = report.table(rows)
    facts = {
        "recipes": recipes,
        "seeds": list(range(comparison.seeds)),
        "plan": comparison.plan,
        "notes": notes,
        "config": ini.render(comparison.shared),
        "git": provenance.git_revision(),
        "versions": {"python": platform.python_version()} | scoring.versions(),
    }
    report.write(out, scored, report.summary(rows, command, facts))
    page = ["# Comparison", f"    {command}", markdown(table), markdown(means)]
    page += ["\n".join(f"- {note}" for note in notes), f"```\n{text}\n```"]
    with files.replacing(out / "table.md") as path:
        path.write_text("\n\n".join(page) + "\n", encoding="utf-8", errors="backslashreplace")
    charting.charts(charts(rows), out / "scores.png")
    charting.charts(tradeoff(recipes, rows), out / "tradeoff.png")
    return "\n".join([*report.aligned(table), "", text, *lacks])
