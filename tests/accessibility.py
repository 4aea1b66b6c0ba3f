"""Serious faults of a page that axe-core finds, by playwright, and pictures of it at every width.

axe-core is looked for in AXE_CORE (the file axe.min.js) and in node_modules beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.documents import ROOT

_PLACES = (
    *([Path(os.environ["AXE_CORE"])] if "AXE_CORE" in os.environ else []),
    *(folder / "node_modules" / "axe-core" / "axe.min.js" for folder in (ROOT, ROOT.parent)),
)
AXE = next((path for path in _PLACES if path.is_file()), None)
needs_axe = pytest.mark.skipif(AXE is None, reason="no axe-core: npm install axe-core, AXE_CORE=…/axe.min.js")
WIDTHS = (390, 768, 1280, 1920)
SCHEMES = ("light", "dark")


def violations(page: Any) -> tuple[dict[str, list[list[str]]], int]:
    """Return the serious faults of a page, rule -> elements, and how many rules it passes.

    axe is run in the page's own world by the debugger, which the content security policy does not stop.
    """
    page.evaluate(AXE.read_text(encoding="utf-8"))
    result = page.evaluate("axe.run(document)")
    serious = [each for each in result["violations"] if each["impact"] in ("serious", "critical")]
    return {each["id"]: [node["target"] for node in each["nodes"]] for each in serious}, len(result["passes"])


def check_schemes(page: Any) -> None:
    """Check a page that is open, light and dark; nothing where axe-core is absent."""
    for scheme in SCHEMES if AXE else ():
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)  # transitions of colours
        faults, passes = violations(page)
        assert passes > 10 and not faults, (scheme, faults)
    page.emulate_media(color_scheme="light")


def shoot(page: Any, name: str, widths: tuple[int, ...] = WIDTHS, *, whole: bool = True) -> None:
    """Save pictures of a page that is open at every width, light and dark, in the folder SHOTS, if it is given.

    With `whole`, a picture shows the page down to its end, else what the window shows.
    """
    if "SHOTS" not in os.environ:
        return
    before = page.viewport_size
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(800)
            page.screenshot(path=Path(os.environ["SHOTS"]) / f"{name}_{width}_{scheme}.png", full_page=whole)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(before)
    page.wait_for_timeout(300)
