"""Draw the rooms of the package and the imports between them: docs/images/rooms.svg.

    python tools/rooms.py

A box per room with its modules; its height is that of the list. An arrow per pair of rooms of
which one imports the other, as wide as the number of imports. Rooms are on the floors of the
layers in pyproject.toml, which import-linter holds: every arrow points downwards.
"""

import ast
import collections
import html
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "specmask"
PICTURE = ROOT / "docs" / "images" / "rooms.svg"
WIDTH, MARGIN, GAP, LINE, COLUMNS = 980, 20, 46, 17, 6  # pixels; modules per line of a box


def layers() -> list[list[str]]:
    """Return the rooms of each floor, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    floors = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [[name.strip().removeprefix("specmask.") for name in f.split(":")] for f in floors]
    return [names for names in rooms if names != ["__main__"]]


def modules(room: str) -> list[Path]:
    """Return the modules of a room, which may be a single one."""
    single = PACKAGE / f"{room}.py"
    paths = [single] if single.is_file() else sorted((PACKAGE / room).rglob("*.py"))
    return [p for p in paths if p.stem != "__main__"]


def imports() -> dict[tuple[str, str], int]:
    """Return how many imports lead from one room to another."""
    found: dict[tuple[str, str], int] = collections.Counter()
    rooms = [room for floor in layers() for room in floor]
    for room in rooms:
        for path in modules(room):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.ImportFrom) or not node.module:
                    continue
                names = [node.module] if node.module != "specmask" else []
                names = names or [f"specmask.{alias.name}" for alias in node.names]
                for name in names:
                    other = name.removeprefix("specmask.").partition(".")[0]
                    if name.startswith("specmask.") and other in rooms and other != room:
                        found[room, other] += 1
    return found


def contents(room: str) -> list[str]:
    """Return the lines of a box: names of modules, a line per folder."""
    folders: dict[str, list[str]] = {}
    for path in modules(room):
        if path.stem != "__init__":
            where = path.parent.relative_to(PACKAGE).as_posix()
            folders.setdefault(where, []).append(path.stem)
    lines = []
    for where, names in sorted(folders.items()):
        if where == ".":
            continue
        title = where.partition("/")[2]
        rows = [names[k : k + COLUMNS] for k in range(0, len(names), COLUMNS)]
        for k, row in enumerate(rows):
            prefix = f"{title}: " if title and not k else ""
            lines.append(prefix + "  ".join(row))
    return lines


def code_lines(room: str) -> int:
    """Return the lines of a room's modules."""
    return sum(p.read_text(encoding="utf-8").count("\n") for p in modules(room))


def draw() -> str:
    """Return the picture as SVG."""
    boxes, parts, top = {}, [], MARGIN
    for floor in layers():
        texts = [contents(room) for room in floor]
        height = 30 + LINE * max(map(len, texts))
        width = (WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)) / len(floor)
        if len(floor) == 1 and not texts[0]:
            width /= 3
        for k, (room, lines) in enumerate(zip(floor, texts, strict=True)):
            left = MARGIN + k * (width + GAP)
            boxes[room] = (left, top, width, height)
            title = f"{room} · {code_lines(room):,} lines"
            parts.append(
                f'<rect x="{left:.0f}" y="{top}" width="{width:.0f}" height="{height}" rx="6"/>'
                f'<text x="{left + 12:.0f}" y="{top + 21}" class="t">{html.escape(title)}</text>'
            )
            parts += [
                f'<text x="{left + 12:.0f}" y="{top + 39 + LINE * n}">{html.escape(line)}</text>'
                for n, line in enumerate(lines)
            ]
        top += height + GAP
    starts = collections.Counter()
    arrows = []
    for (room, other), count in sorted(imports().items()):
        left, y, width, height = boxes[room]
        left2, y2, width2, _ = boxes[other]
        starts[room] += 1
        place = 0.1 + 0.8 * (starts[room] * 0.618 % 1)
        x, x2 = left + place * width, left2 + place * width2
        arrows.append(
            f'<path d="M{x:.0f},{y + height} L{x2:.0f},{y2 - 4}" '
            f'stroke-width="{1 + count**0.5 / 3:.1f}"><title>{room} imports {other}: {count}'
            "</title></path>"
        )
    style = (
        "svg{background:#fff}rect{fill:#f4f6f8;stroke:#33475b}text{font:12px sans-serif;"
        "fill:#33475b}.t{font-weight:bold;font-size:14px}path{stroke:#2a7f86;stroke-opacity:.45;"
        "fill:none;marker-end:url(#a)}"
    )
    marker = (
        '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0 L8,4 L0,8 z" '
        'style="fill:#2a7f86;stroke:none;marker-end:none"/></marker>'
    )
    body = "\n".join([*arrows, *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}"><style>{style}</style><defs>{marker}</defs>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"{len(imports())} arrows -> {PICTURE}")
