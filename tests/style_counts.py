"""Count what HOUSE English forbids: `python -m tests.style_counts [folder ...]` prints every place and the totals.

The rule of each count is the docstring of its function. `tests/test_architecture.py` holds the totals to their limits.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
WORDS = re.compile(r"\b(said|told|tells?|mend|mends|mended|anew|so many|for ever|nobody|somebody)\b", re.IGNORECASE)
FRAGMENT = re.compile(
    r"(?:of|that|which|for|in|with|without|at|to|from|by|as|when|where|what|how|who|whether|if|on|into|than|after|before"
    r"|its|their|this|these|those|it|is|are|may|must|and|or|so)\b|[a-z]"
)
ENTRY = re.compile(r"^ {4}(\*{0,2}[A-Za-z_]\w*)(?: \([^)]*\))?: *(.*)$")
IRREGULAR = frozenset(
    "found said told made given known taken kept held left seen chosen written sent got done begun shown drawn grown "  # noqa: SIM905
    "worn met lost built bought brought caught felt heard laid led paid sold spent thought understood won broken "
    "fallen forgotten frozen hidden spoken stolen thrown torn been gone".split()
)
NOT_A_PARTICIPLE = frozenset(
    "seed speed need feed bed red shed embed embedding heading setting encoding string thing ring king spacing "  # noqa: SIM905
    "padding spring nothing something everything anything during morning building training logging warning timing "
    "testing finding meaning serving sampling mapping listing offering labelling reading confined".split()
)
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".sh"}
OTHER_TEXT = {"Makefile", ".ci/run", "manifests/images/Dockerfile"}
LEFT_OUT = {"LICENSE", "requirements.lock", "tests/style_counts.py"}


class Place(NamedTuple):
    """Where something was counted: file, line, text."""

    file: str
    line: int
    text: str


def tracked(*folders: str) -> list[Path]:
    """Return the tracked text files of the folders, or of the whole tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [Path(line) for line in listed.stdout.splitlines()]
    texts = [path for path in paths if path.suffix in SUFFIXES or str(path) in OTHER_TEXT]
    return [path for path in texts if str(path) not in LEFT_OUT and (ROOT / path).is_file()]


def documented(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int]]:
    """Yield (node, docstring, line) of every module, class and function with a docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield node, text, node.body[0].lineno


def odd_words(path: Path) -> Iterator[Place]:
    """Yield lines with one of WORDS, in code, text and configuration."""
    for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), start=1):
        if WORDS.search(line):
            yield Place(str(path), number, line.strip())


def entries(path: Path) -> Iterator[Place]:
    """Yield the entries of `Args:` and `Attributes:` sections."""
    for _, text, line in documented(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        section = ""
        for number, row in enumerate(text.splitlines(), start=line):
            if row and not row.startswith(" "):
                section = row
            entry = ENTRY.match(row)
            if section in ("Args:", "Attributes:") and entry:
                yield Place(str(path), number, f"{entry.group(1)}: {entry.group(2)}")


def fragments(path: Path) -> Iterator[Place]:
    """Yield `Args:` and `Attributes:` entries that begin in lower case: they cannot be read without the name."""
    for place in entries(path):
        if FRAGMENT.match(place.text.split(": ", 1)[1] if ": " in place.text else ""):
            yield place


def unusual_summaries(path: Path) -> Iterator[Place]:
    """Yield function docstrings whose first word is no imperative: a verb in -s, What, Whether, How, A, The."""
    for node, text, line in documented(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = text.split()[0]
            third_person = first.endswith("s") and not first.endswith("ss") and first[0].isupper()
            if third_person or first in ("What", "Whether", "Where", "How", "A", "An", "The", "It", "Is", "Has"):
                yield Place(str(path), line, text.splitlines()[0])


def is_participle(name: str) -> bool:
    """Return whether a name is one word, and that word a participle: in -ed, in -ing, or irregular."""
    word = name.strip("_")
    if "_" in word or word in NOT_A_PARTICIPLE:
        return False
    return word in IRREGULAR or (len(word) > 4 and word.endswith(("ed", "ing")))


def participles(path: Path) -> Iterator[Place]:
    """Yield variables, loop variables and parameters whose whole name is a participle (`found`, `given`, `sorted`)."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and is_participle(node.id):
            yield Place(str(path), node.lineno, node.id)
        if isinstance(node, ast.arg) and is_participle(node.arg):
            yield Place(str(path), node.lineno, node.arg)


COUNTS = {
    "words": odd_words,
    "fragments": fragments,
    "summaries": unusual_summaries,
    "participles": participles,
}


def count(name: str, *folders: str) -> list[Place]:
    """Return every place of one count in the folders, tests and benchmarks included."""
    python_only = name != "words"
    paths = [path for path in tracked(*folders) if not python_only or path.suffix == ".py"]
    return [place for path in paths for place in COUNTS[name](path)]


def main() -> None:
    """Print every place, then the totals."""
    totals = {}
    for name in COUNTS:
        places = count(name, *sys.argv[1:])
        totals[name] = len(places)
        for place in places:
            print(f"{name}: {place.file}:{place.line}: {place.text[:110]}")
    total_entries = sum(1 for path in tracked(*sys.argv[1:]) if path.suffix == ".py" for _ in entries(path))
    print(totals, f"of {total_entries} entries")


if __name__ == "__main__":
    main()
