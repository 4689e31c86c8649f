"""Progress of long work."""

from specmask import progress


def test_progress_without_a_terminal_is_lines(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.Progress(200, "enhance") as work:
        for _ in range(4):
            work.update(50)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" in ")[0] for line in lines] == [
        "enhance: 25%", "enhance: 50%", "enhance: 75%"
    ]  # fmt: skip
    assert all(line.endswith("left") for line in lines)
