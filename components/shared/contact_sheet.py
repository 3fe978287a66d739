"""Pages to look at: slices of each species, counts, refused files. Self-contained HTML that opens offline."""

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape

from components.shared.contracts import Refusal, SplitCount

PER_SPECIES = 12
MOST_SPECIES = 100
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.5em}h2{font-size:1.1em;margin:1.6em 0 .4em}
table{border-collapse:collapse}
td,th{padding:.2em .9em .2em 0;text-align:left;vertical-align:top;border-bottom:1px solid #ddd}
td.n,th.n{text-align:right}
figure{display:inline-block;margin:0 .4em .4em 0}figcaption{font-size:.7em;color:#666}
img{width:112px;height:112px;background:#000;display:block;object-fit:contain}
.bar{display:inline-block;height:.7em;background:#3b7ea1}
"""


class Thumbnails:
    """A few slices of each species, of as many specimens as there are."""

    def __init__(self) -> None:
        self.chosen: defaultdict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self._specimens: defaultdict[str, set[str]] = defaultdict(set)

    def consider(self, species: str, split: str, specimen: str, png: bytes) -> None:
        """Keeps a slice unless its species has enough, or its specimen is shown already."""
        enough = len(self.chosen[species]) >= PER_SPECIES
        if enough or specimen in self._specimens[species] or len(self.chosen) > MOST_SPECIES:
            return
        self._specimens[species].add(specimen)
        self.chosen[species].append((f"{specimen}, {split}", png))


def page(title: str, *sections: str) -> str:
    """Returns a whole page."""
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{head}<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(sections)}</body></html>"


def section(title: str, content: str) -> str:
    """Returns a titled part of a page."""
    return f"<h2>{escape(title)}</h2>{content}"


def figures(pictures: Iterable[tuple[str, bytes]]) -> str:
    """Returns PNG images in a row, each with its caption."""
    return "".join(
        f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, png in pictures
    )


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a table; numbers are set to the right."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(content: object) -> str:
    return f'<td class="n">{content}</td>' if isinstance(content, int | float) else f"<td>{escape(str(content))}</td>"


def balance_table(counts: Sequence[SplitCount], splits: Sequence[str]) -> str:
    """Returns specimens and slices for each species and split."""
    found = {(count.species, count.split): count for count in counts}
    rows = []
    for species in sorted({count.species for count in counts}):
        row = [found.get((species, split)) for split in splits]
        rows.append([species, *(f"{cell.specimens} / {cell.slices}" if cell else "-" for cell in row)])
    return table(["species", *(f"{split}: specimens / slices" for split in splits)], rows)


def refused_table(refused: Sequence[Refusal]) -> str:
    """Returns the files left out and why."""
    if not refused:
        return "<p>None.</p>"
    return table(["file", "reason"], [(refusal.path, refusal.reason) for refusal in refused])
