"""The project in numbers: lines, longest pieces, and how long the commands take to start.

    python benchmarks/census.py [--rounds 3]

Lines are those of Python files that Git knows, blank ones and comments included. A command's start
is the time of its --help, its import that of its module without an interpreter's start; medians.
"""

import argparse
import ast
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from specmask.__main__ import COMMANDS  # noqa: E402


def seconds(code: str, rounds: int) -> float:
    """Return the median time of a fresh interpreter that runs code."""
    found = []
    for _ in range(rounds):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
        found.append(time.perf_counter() - begun)
    return statistics.median(found)


def sizes() -> None:
    """Print lines by folder, and the longest module and function of the package and all else."""
    listed = subprocess.run(
        ["git", "ls-files", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    lines, longest = Counter(), {}
    for name in listed.stdout.split():
        text = (ROOT / name).read_text(encoding="utf-8")
        length = len(text.splitlines())
        part = name.partition("/")[0] if "/" in name else "scripts"
        lines[part] += length
        functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
        found = [("module", length, name)]
        found += [("function", f.end_lineno - f.lineno + 1, f"{name}: {f.name}") for f in functions]
        for kind, size, what in found:
            longest[part, kind] = max(longest.get((part, kind), (0, "")), (size, what))
    print("| part | lines | longest module | longest function |\n|---|---|---|---|")
    for part, count in lines.most_common():
        module, function = (longest.get((part, kind), (0, "-")) for kind in ("module", "function"))
        print(f"| {part} | {count:,} | {module[0]}, {module[1]} | {function[0]}, {function[1]} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    sizes()
    empty = seconds("", rounds)
    print("\n| command | import s | --help s |\n|---|---|---|")
    for command in COMMANDS:
        imported = seconds(f"import specmask.commands.{command}", rounds) - empty
        helped = f"import sys; from specmask.__main__ import run; run(['{command}', '--help'])"
        print(f"| {command} | {imported:.2f} | {seconds(helped, rounds):.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
