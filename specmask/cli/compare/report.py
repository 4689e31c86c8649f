"""The report of a comparison: tables of means and costs, charts, and all of it as JSON.

Files in its folder:
    table.md        the tables
    scores.csv      a row per file and training
    summary.json    means with intervals, tests, commands, versions, seeds, costs, losses
    scores.png      scores by SNR and by noise type
    tradeoff.png    scores against latency and against multiply-adds
"""

import math
import platform
from collections.abc import Mapping, Sequence
from typing import Any

from specmask import files
from specmask.cli.compare import charts
from specmask.cli.compare.runner import Comparison
from specmask.config import ini
from specmask.evaluation import provenance, report, scoring
from specmask.evaluation.metrics.table import METRICS

SHOWN = ("si_sdr", "si_sdr_improvement", "pesq_wb", "pesq_nb", "stoi", "estoi")  # in table.md
COST_HEAD = (
    *("recipe", "seeds", "parameters", "M mult-adds/s", "latency ms", "steps", "minutes"),
    *("first loss", "last loss", "SI-SDRi dB by seed"),
)


def by_recipe(comparison: Comparison, rows: Sequence[Mapping]) -> list[dict]:
    """Return the rows with the recipe as their system, and the seed beside it."""
    names = {
        t.name: {"system": t.recipe.label, "seed": t.config.train.seed} for t in comparison.complete
    }
    return [{**row, **names.get(row["system"], {})} for row in rows]


def recipe_facts(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return file, options, costs and trainings of each recipe, by its label."""
    found: dict[str, dict[str, Any]] = {}
    for training in comparison.complete:
        p, costs = training.progress, dict(comparison.costs(training))
        weights = costs.pop("weights")
        recipe = found.setdefault(
            training.recipe.label,
            {"file": str(training.recipe.path), "options": list(training.recipe.options), **costs}
            | {"steps": p.total_steps, "trainings": []},
        )
        first, last = (
            report.finite(epoch.get("validation_loss", epoch["training_loss"]))
            for epoch in (p.history[0], p.history[-1])
        )
        recipe["trainings"].append(
            {
                "seed": training.config.train.seed,
                "command": training.command,
                "steps": p.total_steps,
                "minutes": p.seconds / 60,
                "first_loss": first,
                "last_loss": last,
                "best_epoch": p.best_epoch,
                "weights": weights,
            }
        )
    return found


def warnings(recipes: Mapping[str, Mapping]) -> list[str]:
    """Return a line for each training whose loss did not decrease."""
    return [
        f"warning: {label}, seed {t['seed']}: the validation loss did not decrease "
        f"({t['first_loss']:.5f} to {t['last_loss']:.5f}): its scores say little about the recipe"
        for label, recipe in recipes.items()
        for t in recipe["trainings"]
        if None not in (t["first_loss"], t["last_loss"])
        and t["last_loss"] >= t["first_loss"]
        and recipe["steps"] > 1
    ]


def cost_table(recipes: Mapping[str, Mapping], rows: Sequence[Mapping]) -> list[list[str]]:
    """Return the head and a line per recipe: parameters, costs, steps, losses, scores by seed."""
    systems = report.by_system(rows)
    lines = [list(COST_HEAD)]
    for label, recipe in recipes.items():
        trainings = recipe["trainings"]
        improvements = [
            report.mean([r for r in systems[label] if r["seed"] == t["seed"]], "si_sdr_improvement")
            for t in trainings
        ]
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
                ", ".join("nan" if m["mean"] is None else f"{m['mean']:.2f}" for m in improvements),
            ]
        )
    return lines


def _mean(values: Sequence[float | None]) -> float:
    return sum(math.nan if v is None else v for v in values) / len(values)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table; the first line is its head."""
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])


def write(comparison: Comparison, scored: Sequence[Mapping], command: str) -> str:
    """Write the report and return its tables as text."""
    out, rows, recipes = comparison.out, by_recipe(comparison, scored), recipe_facts(comparison)
    problems = warnings(recipes) + [
        f"warning: {t.name}: its training is not complete, left out" for t in comparison.failed
    ]
    notes = [*comparison.data_notes(), *problems]
    facts = {
        "recipes": recipes,
        "seeds": list(range(comparison.seeds)),
        "plan": comparison.plan,
        "notes": notes,
        "config": ini.render(comparison.shared),
        "git": provenance.git_revision(),
        "versions": {"python": platform.python_version()} | scoring.versions(),
    }
    content = report.summary(rows, command, facts)
    report.write(out, scored, content)
    shown = [name for name in SHOWN if name in content["metrics"]]
    means = [["system", *(METRICS[name].label for name in shown)]]
    means += [[s, *(report.cell(m, name) for name in shown)] for s, m in content["systems"].items()]
    costs = cost_table(recipes, rows)
    text = "\n".join([report.table(content), *report.definitions(rows), *report.problems(rows)])
    page = ["# Comparison", f"    {command}", markdown(costs), markdown(means)]
    page += ["\n".join(f"- {note}" for note in notes), f"```\n{text}\n```"]
    with files.replacing(out / "table.md") as path:
        path.write_text("\n\n".join(page) + "\n", encoding="utf-8", errors="backslashreplace")
    charts.scores(content, out / "scores.png")
    charts.tradeoff(content, out / "tradeoff.png")
    return "\n".join([*report.aligned(costs), "", text, *problems, "", report.headline(content)])
