"""Means, tables, groups and comparisons by hand, and the files that they are written to."""

import csv
import json
import math
import re

import numpy as np
from helpers import SCORE_ROWS, make_row

from specmask.evaluation import report, score_table, scoring, statistics, word_errors


def test_means_count_their_files():
    for name, expected in (("si_sdr", (4.0, 3, 0)), ("stoi", (0.625, 2, 1))):
        m = report.mean(SCORE_ROWS[:3], name)
        assert (m["mean"], m["scored"], m["missing"]) == expected
        assert m["low"] < m["mean"] < m["high"]
    empty = report.mean(SCORE_ROWS[1:2], "stoi")
    assert empty == dict.fromkeys(["mean", "low", "high"]) | {"scored": 0, "missing": 1}


def text_of(rows: list[dict]) -> str:
    return report.table(report.summary(rows, "", {}))


def test_table(monkeypatch):
    monkeypatch.setattr(report, "FEWEST_FILES", 2)
    lines = [line.split() for line in text_of(SCORE_ROWS).splitlines()]
    short = [
        line.split() for line in report.headline(report.summary(SCORE_ROWS, "", {})).splitlines()
    ]
    assert short == lines[: len(short)] and lines[len(short)] == ["by", "SNR"]
    assert lines[0] == ["system", "n", "SI-SDR", "dB", "STOI"]
    assert lines[1:4] == [
        ["overall"],
        ["s", "3", "4.00±3.50", "0.6250±0.1250", "(2)"],
        ["t", "1", "-2.00", "0.2500"],
    ]
    assert ["0", "dB", "s", "2", "4.50±3.50", "0.6250±0.1250"] in lines
    assert ["6", "dB", "s", "1", "3.00", "nan", "(0)"] in lines
    assert ["dogs", "s", "1", "8.00", "0.7500"] in lines
    text = "\n".join(report.problems(SCORE_ROWS) + report.definitions(SCORE_ROWS))
    assert "s: 1 of 3 files lack scores, 1 because (b) stoi: too short" in text
    pesq = report.definitions([make_row(pesq_wb=1.0)])
    assert pesq[0].endswith("; without Corrigendum 2 of 2018, which raises wideband scores")
    assert re.search(r"STOI: Taal et al\. 2011, package pystoi \d+\.\d+", text)


def test_table_without_conditions_has_one_section():
    text = text_of([make_row(snr=None, noise="", si_sdr=1.0)])
    assert "overall" in text and "by SNR" not in text and "by noise" not in text


def test_groups_are_in_order_and_zero_has_no_sign():
    snrs = [10.0, -5.0, -0.0, math.inf, 0.0, None]
    found = report.groups([make_row(snr=s, noise="", si_sdr=1.0) for s in snrs])
    assert list(found) == ["by_snr"]
    assert list(found["by_snr"]) == ["-5 dB", "0 dB", "10 dB", "inf dB", "unknown"]
    assert len(found["by_snr"]["0 dB"]) == 2


def test_no_interval_below_five_files():
    for files, interval in ((4, False), (5, True)):
        rows = [make_row(system=s, file=f"f{i}", si_sdr=float(i + k * i))
                for k, s in enumerate(("new", "old")) for i in range(files)]  # fmt: skip
        assert ("±" in text_of(rows)) == interval and (" to " in text_of(rows)) == interval
        assert report.mean(rows[:files], "si_sdr")["low"] is not None  # in summary.json as before


def test_a_summary_of_before_is_checked_with_its_own_groups():
    rows = [make_row(snr=float(s), si_sdr=0.0) for s in range(12)]
    old = report.summary(rows, "", {}, most_snrs=24)
    assert len(old["systems"]["s"]["by_snr"]) == 12
    assert report.summary(rows, "", {}, report.ungrouped_snrs(old)) == old
    new = report.summary(rows, "", {})
    assert report.summary(rows, "", {}, report.ungrouped_snrs(new)) == new


def test_more_than_eight_snrs_are_grouped():
    rows = [make_row(snr=float(s), si_sdr=0.0) for s in range(9)]
    assert list(report.groups(rows[:8])["by_snr"])[1] == "1 dB"
    assert list(report.groups(rows)["by_snr"]) == ["0 to 5 dB", "5 to 10 dB"]
    rows = [make_row(snr=s, si_sdr=s) for s in np.linspace(-5, 9.9, 60)]
    found = report.groups(rows)["by_snr"]
    assert list(found) == ["-5 to 0 dB", "0 to 5 dB", "5 to 10 dB"]
    for label, members in found.items():
        low = float(label.split()[0])
        assert all(low <= r["snr_db"] < low + 5 for r in members)
    assert sum(map(len, found.values())) == 60


def test_files_of_the_report(tmp_path):
    content = report.summary(SCORE_ROWS, "evaluate.py a b", {"versions": scoring.versions()})
    report.write(tmp_path / "new", SCORE_ROWS, content)
    with (tmp_path / "new" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["file"] for r in rows] == ["a", "b", "c", "a"]
    assert float(rows[2]["si_sdr"]) == 8 and rows[1]["stoi"] == "nan"
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    assert summary["command"] == "evaluate.py a b"
    assert re.match(r"\d+\.\d+", summary["versions"]["pesq"])
    s = summary["systems"]["s"]
    assert s["files"] == 3
    expected = {"mean": 0.625, "low": 0.5, "high": 0.75, "scored": 2, "missing": 1}
    assert s["metrics"]["stoi"] == expected
    nothing = dict.fromkeys(["mean", "low", "high"])
    assert s["by_snr"]["6 dB"]["metrics"]["stoi"] == nothing | {"scored": 0, "missing": 1}
    assert s["by_noise"]["dogs"]["metrics"]["si_sdr"]["mean"] == 8
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["scores.csv", "summary.json"]


def test_names_of_files_with_line_breaks_are_read_back(tmp_path):
    row = make_row(file="a\rb\nc", si_sdr=1.5) | {"lag": 0, "digest": "d"}
    score_table.write(tmp_path, [row], ["si_sdr"])
    assert score_table.read(tmp_path) == {"d": row}
    words = [{"system": "s", "file": "a\rb", "said": "A", "heard": "B", "errors": 1}]
    word_errors.write(tmp_path, words)
    (found,) = word_errors.read_rows(tmp_path)
    assert (found["file"], found["errors"]) == ("a\rb", 1)


def test_comparisons_are_paired_by_file():
    ours = [make_row(system="new", file=f"f{i}", si_sdr=float(i + 2)) for i in range(9)]
    theirs = [make_row(system="old", file=f"f{i}", si_sdr=float(i)) for i in reversed(range(8))]
    (entry,) = report.comparisons(ours + theirs)
    assert (entry["system"], entry["other"], entry["files"]) == ("new", "old", 8)
    assert (entry["mean"], entry["low"], entry["high"]) == (2, 2, 2)
    assert entry["p"] == entry["p_holm"] == 2 / 2**8  # all eight signs alike, two-sided
    text = text_of(ours + theirs)
    assert "SI-SDR dB of new" in text and "+2.00 to +2.00" in text


def test_baselines_are_not_what_is_compared():
    rows = [make_row(system=s, si_sdr=v) for s, v in (("noisy", 0.0), ("wiener", 1.0), ("me", 3.0))]
    found = [(e["system"], e["other"], e["mean"]) for e in report.comparisons(rows)]
    assert found == [("me", "noisy", 3), ("me", "wiener", 2)]
    assert report.comparisons(rows[:2]) == report.comparisons(rows[2:]) == []


def seeded(system: str, table: list[list[float]], first: int = 0) -> list[dict]:
    """Rows of trainings with the seeds first, first + 1, ...: a line of the table each."""
    return [
        make_row(system=system, file=f"f{i}", si_sdr=v) | {"seed": seed}
        for seed, line in enumerate(table, first)
        for i, v in enumerate(line)
    ]


def test_means_over_trainings_have_intervals_over_both():
    table = [[1.0, 2.0, 4.0], [2.0, 3.0, 5.0]]
    rows = seeded("new", table)
    m = report.mean(rows, "si_sdr")
    assert (m["mean"], m["scored"]) == (17 / 6, 6)
    assert (m["low"], m["high"]) == statistics.interval(table)
    rows[1]["si_sdr"] = math.nan  # f1 is left out of the interval, as one training lacks it
    m = report.mean(rows, "si_sdr")
    assert (m["mean"], m["scored"], m["missing"]) == (3, 5, 1)
    assert (m["low"], m["high"]) == statistics.interval([[1.0, 4.0], [2.0, 5.0]])


def test_trainings_are_compared_seed_by_seed():
    ours = seeded("new", [[1.0, 2.0], [3.0, 4.0]])
    theirs = seeded("old", [[2.0, 2.0], [9.0, 9.0]], first=1)
    noisy = [make_row(system="noisy", file=f"f{i}", si_sdr=0.0) for i in range(2)]
    found = {e["other"]: e for e in report.comparisons(noisy + ours + theirs)}
    assert found["old"]["mean"] == (1 + 2) / 2  # seed 1 is what both have
    assert found["noisy"]["mean"] == 2.5 and found["noisy"]["files"] == 2
