"""Hooks of the documentation site (see mkdocs.yml)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Show links to files outside of `docs` as text: they are in the repository, but not on the site."""
    depth = len(PurePosixPath(page.file.src_uri).parents) - 1

    def without_link(match: re.Match[str]) -> str:
        text, target, _ = match.groups()
        return f"{text} (`{target[3 * (depth + 1) :]}`)" if target.startswith("../" * (depth + 1)) else match[0]

    return LINK.sub(without_link, markdown)
