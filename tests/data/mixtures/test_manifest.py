"""Manifests are read back whatever they hold, and journals survive any interruption."""

import pytest
from helpers import data_config, read_csv, snapshot
from hypothesis import given
from hypothesis import strategies as st

from specmask.config.schema import Config
from specmask.data.mixtures import build, manifest, render
from specmask.data.mixtures.plan import make_plans
from specmask.errors import UserError

TOTALS = {
    "data__total_training_files": 12,
    "data__total_validation_files": 0,
    "data__total_testing_files": 0,
}
CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


def make(config: Config) -> build.Summary:
    """Make the training files."""
    return build.make(make_plans(config)[0][0])


@pytest.fixture
def made(corpus, tmp_path) -> Config:
    """The configuration of a data set that has been made."""
    config = data_config(corpus, tmp_path, **TOTALS)
    make(config)
    return config


def some_rows(cells: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Valid rows with these cells."""
    return [
        dict.fromkeys(render.COLUMNS, "7") | {"index": str(i), "speaker": a, "noise": b}
        for i, (a, b) in enumerate(cells)
    ]


@given(st.lists(st.tuples(CELL, CELL), max_size=6), st.integers(0, 40))
def test_rows_are_read_back_and_a_cut_costs_the_last(tmp_path_factory, cells, cut):
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    written = some_rows(cells)
    manifest.write(path, written)
    assert list(manifest.rows(path)) == written
    assert read_csv(path) == written  # any CSV reader gets the same
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    found = list(manifest.rows(path))
    assert found == written[: len(found)]
    assert len(found) == len(written) or cut


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("samples", "many"),
        ("samples", "9" * 400),
        ("snr_db", "{}"),
        ("index", "-1"),
        ("peak", "1,"),
        ("measured_active_snr_db", ""),
    ],
)
def test_a_damaged_row_is_reported_and_its_file_made_again(made, tmp_path, column, value):
    before, path = snapshot(tmp_path), manifest.path_of(made, "training")
    found = read_csv(path)
    found[3][column] = value
    manifest.write(path, found)
    with pytest.raises(UserError, match="row 3 is missing or damaged; run python data/data_prep"):
        list(manifest.stream(made, "training"))
    assert make(made).new == 1
    assert snapshot(tmp_path) == before


def test_rows_with_the_files_of_others_are_made_again(made, tmp_path):
    before, path = snapshot(tmp_path), manifest.path_of(made, "training")
    found = read_csv(path)
    for column in render.FILES.values():
        found[3][column], found[4][column] = found[4][column], found[3][column]
    manifest.write(path, found)
    assert make(made).new == 2
    assert snapshot(tmp_path) == before


def test_damaged_names_of_columns(made, tmp_path):
    before, path = snapshot(tmp_path), manifest.path_of(made, "training")
    path.write_bytes(path.read_bytes().replace(b",samples", b"\rsamples", 1))
    with pytest.raises(UserError, match="holds no rows"):
        manifest.stream(made, "training")
    assert make(made).new == 12
    assert snapshot(tmp_path) == before


def test_a_cell_without_an_end(made, tmp_path):
    before, path = snapshot(tmp_path), manifest.path_of(made, "training")
    lines = path.read_text().splitlines(keepends=True)
    lines.insert(3, '"' + "x" * 140_000 + "\n")  # csv allows a cell 128 KiB
    path.write_text("".join(lines))
    assert len(list(manifest.rows(path))) == 2
    assert make(made).new == 10
    assert snapshot(tmp_path) == before


# ---------------------------------------------------------------- the journal


@given(
    cells=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    cuts=st.lists(st.integers(0, 60), max_size=3),
)
def test_a_journal_becomes_the_manifest(tmp_path_factory, cells, order, cuts):
    """Rows come in any order; each run adds what it finds missing, and a cut costs it the last."""
    path = tmp_path_factory.mktemp("journal") / "manifest.csv"
    expected = some_rows(cells)
    for cut in [*cuts, 0]:
        done = {int(row["index"]): row for row in manifest.earlier(path)}
        manifest.write(manifest.journal_of(path), done.values())
        missing = [row for row in expected if int(row["index"]) not in done]
        order.shuffle(missing)
        with manifest.appending(manifest.journal_of(path)) as add:
            for row in missing:
                add(row)
        content = manifest.journal_of(path).read_bytes()
        manifest.journal_of(path).write_bytes(content[: len(content) - cut])
    manifest.finish(path, len(expected))
    assert list(manifest.rows(path)) == expected
    assert [p.name for p in path.parent.iterdir()] == ["manifest.csv"]


def test_a_kill_costs_no_row_that_was_added(tmp_path):
    path, expected = tmp_path / "manifest.csv.partial", some_rows([("a", "b"), ("c", "d")])
    manifest.write(path, [])
    with manifest.appending(path) as add:
        for number, row in enumerate(expected, 1):
            add(row)
            assert list(manifest.rows(path)) == expected[:number]


@pytest.mark.parametrize("state", ["kept", "partial", "both", "overlap", "all", "cut", "shuffled"])
def test_a_data_set_half_made_by_an_earlier_version(made, tmp_path, state):
    """Whatever it has left of its three files of rows, nothing is rendered twice."""
    before, path = snapshot(tmp_path), manifest.path_of(made, "training")
    rows = manifest.read(made, "training")
    csv_rows, kept, partial = {
        "kept": ([], rows, []),
        "partial": ([], [], rows),
        "both": ([], rows[::2], rows[1::2]),
        "overlap": ([], rows[:8], rows[4:]),
        "all": (rows[:4], rows[:4], rows[4:]),
        "cut": ([], rows[:5], rows[5:]),
        "shuffled": ([], rows[:6], rows[:5:-1]),
    }[state]
    path.unlink()
    for suffix, some in ((".csv", csv_rows), (".csv.kept", kept), (".csv.partial", partial)):
        if some:
            manifest.write(path.with_suffix(suffix), some)
    if state == "cut":
        journal = manifest.journal_of(path)
        journal.write_bytes(journal.read_bytes()[:-9])
    assert make(made).new == (state == "cut")
    assert snapshot(tmp_path) == before


def test_a_leftover_beside_a_finished_manifest_is_removed(made, tmp_path):
    before, path = snapshot(tmp_path), manifest.path_of(made, "training")
    manifest.write(path.with_suffix(".csv.kept"), manifest.read(made, "training")[:5])
    assert make(made).new == 0
    assert snapshot(tmp_path) == before
