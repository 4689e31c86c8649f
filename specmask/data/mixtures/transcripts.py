"""Transcripts of the files of a data set, from those of the sources."""

import os
from pathlib import Path, PurePosixPath

from specmask import files
from specmask.data.corpus import pairs
from specmask.data.mixtures import manifest
from specmask.data.mixtures.plan import Plan
from specmask.files import parse_json


def find(root: Path) -> dict[str, str]:
    """Return the words of each recording of a folder, by its name without suffix.

    Reads lines ``UTTERANCE WORDS`` of LibriSpeech's ``*.trans.txt``, and files ``NAME.txt`` in
    folders whose name ends in ``txt`` (VCTK, VoiceBank+DEMAND).
    """
    found = {}
    for where, folders, names in os.walk(root):
        folders.sort()
        for path in (Path(where) / n for n in sorted(names) if n.endswith(".txt")):
            whole = any(part.endswith("txt") for part in path.relative_to(root).parts[:-1])
            if not whole and not path.name.endswith(".trans.txt"):
                continue
            try:
                text = path.read_text(encoding="utf-8-sig")
            except (OSError, ValueError):
                continue
            if whole:
                found[path.stem] = " ".join(text.split())
            else:
                lines = (line.partition(" ") for line in text.splitlines())
                found |= {name: " ".join(words.split()) for name, _, words in lines}
    return {name: words for name, words in found.items() if words}


def path_of(plan: Plan) -> Path:
    """Return the path of the transcripts of a split."""
    return plan.config.data.data_path / f"transcripts_{plan.split}.tsv"


def write(plan: Plan) -> Path | None:
    """Write the transcripts of a finished split for ``evaluate.py --transcripts``.

    One line per file: clean file, tab, words. Only of files that hold their recordings from the
    first to the last sample: the words of a part are not known.

    Returns:
        ``transcripts_SPLIT.tsv`` beside the manifest; None if there is nothing to write.
    """
    path = path_of(plan)
    transcripts = find(plan.speech_root)
    if not transcripts:
        return None
    lengths = {s.path: s.length for s in plan.speech}
    lines = []
    for row in manifest.stream(plan.config, plan.split):
        tolerance = pairs.TOLERANCE_SECONDS * int(row["sample_rate"]) if plan.pairs else 0
        try:
            words = _words(parse_json(row["speech"]), transcripts, lengths, tolerance)
        except manifest.DAMAGED_ROW:
            continue  # data_prep.py --verify and --render report the row
        if words:
            lines.append(f"{PurePosixPath(row['clean_file']).stem}\t{' '.join(words)}\n")
    if not lines:
        path.unlink(missing_ok=True)
        return None
    with files.replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    return path


def _words(
    pieces: list[dict], transcripts: dict[str, str], lengths: dict[str, int], tolerance: float
) -> list[str]:
    """Return the words of pieces that are whole recordings; none if one is a part."""
    words = [transcripts.get(PurePosixPath(p["path"]).stem, "") for p in pieces]
    whole = all(
        p["offset"] == 0 and p["length"] >= lengths.get(p["path"], 0) - tolerance for p in pieces
    )
    return words if whole and all(words) else []
