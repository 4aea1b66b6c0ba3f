"""A page as a list of blocks, written as Markdown and as one self-contained HTML file."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 66rem; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.25rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd }
h3 { font-size: 1.05rem } .scroll { overflow-x: auto } table { border-collapse: collapse; margin: .6rem 0 }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #e4e4e4; text-align: right; vertical-align: top;
  white-space: nowrap }
th { font-weight: 600 } .left { text-align: left; white-space: normal; overflow-wrap: break-word; max-width: 24rem }
img { max-width: 100%; height: auto } figcaption { color: #555; font-size: .9rem } figure { margin: 1rem 0 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } th, td { border-color: #333 }
h2 { border-color: #333 } figcaption { color: #aaa } }
"""


TERMS = {
    "WAR": "the share of items that were answered correctly",
    "UAR": "the mean recall of the classes",
    "macro F1": "the mean F1 of the classes",
    "WAF": "the mean F1 of the classes, weighted by their number of items",
    "CCC": "the concordance correlation coefficient",
    "MAE": "the mean absolute error",
    "PCC": "Pearson's correlation coefficient",
}
"""Name of a score -> what it is; `docs/concepts/scores.md` has the definitions."""


def percent(share: float) -> str:
    """Write a share of 1 in percent, as all tables of the pages do."""
    return f"{100 * share:.1f} %"


def explained_terms(names: Iterable[str]) -> str:
    """Return a sentence per abbreviation among names of scores, such as "WAR" or "CCC of valence"; "" for none."""
    first = {re.split(r",| of ", name)[0] for name in names}
    return " ".join(f"{term}: {meaning}." for term, meaning in TERMS.items() if term in first)


@dataclass(frozen=True)
class Heading:
    """A title of level 1 to 3."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Rows:
    """A table; a cell may be the path of a picture. Columns listed in `left` contain text, the others numbers."""

    head: tuple[str, ...]
    rows: Sequence[Sequence[str | Path]]
    left: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Picture:
    """A picture with its caption."""

    path: Path
    caption: str


Block = Heading | Text | Bullets | Rows | Picture


def markdown_of_blocks(blocks: Sequence[Block], folder: Path) -> str:
    """Write blocks as Markdown for a file in `folder`."""
    return "\n\n".join(_markdown(block, folder) for block in blocks) + "\n"


def as_html(blocks: Sequence[Block], title: str) -> str:
    """Write blocks as an HTML page with embedded pictures."""
    body = "\n".join(map(_html, blocks))
    head = f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"{head}</head>\n<body>\n{body}\n</body></html>\n"
    )


def _markdown(block: Block, folder: Path) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_flat(block.text)}"
    if isinstance(block, Text):
        return _flat(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_flat(text)}" for text in block.texts)
    if isinstance(block, Picture):
        return f"![{_flat(block.caption)}]({_link(block.path, folder)})"
    rule = ["---" if place in block.left else "--:" for place in range(len(block.head))]
    cells = [[_cell(cell, folder) for cell in row] for row in (block.head, rule, *block.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _cell(cell: str | Path, folder: Path) -> str:
    return f"![frames]({_link(cell, folder)})" if isinstance(cell, Path) else _flat(cell).replace("|", "\\|")


def _flat(text: str) -> str:
    # Replies of models appear on these pages: a line break would end the table, a bracket could start a tag.
    return " ".join(text.split()).replace("<", "&lt;")


def _link(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix().replace(" ", "%20")


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in block.texts) + "</ul>"
    if isinstance(block, Picture):
        caption = escape(block.caption)
        return f"<figure>{_image(block.path, caption)}<figcaption>{caption}</figcaption></figure>"
    lines = [_html_row("th", block.head, block), *(_html_row("td", row, block) for row in block.rows)]
    return '<div class="scroll"><table>\n' + "\n".join(lines) + "\n</table></div>"


def _html_row(tag: str, cells: Sequence[str | Path], block: Rows) -> str:
    return "<tr>" + "".join(_html_cell(tag, cell, block, place) for place, cell in enumerate(cells)) + "</tr>"


def _html_cell(tag: str, cell: str | Path, block: Rows, place: int) -> str:
    mark = ' class="left"' if place in block.left else ""
    return f"<{tag}{mark}>{_image(cell, 'frames') if isinstance(cell, Path) else escape(cell)}</{tag}>"


def _image(path: Path, caption: str) -> str:
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f'<img alt="{caption}" src="data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}">'
