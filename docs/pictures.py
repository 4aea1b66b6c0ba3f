"""Makes the pictures of the report from the demo clip and the shipped model: `python docs/pictures.py`.

`images/report.svg` is the terminal view and `images/page.png` the page, for which Chromium and playwright are needed.
`images/made.json` names the weights they were made with; a test compares it with the shipped weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IMAGES = Path(__file__).parent / "images"
PACKAGE = Path(__file__).parents[1] / "src" / "emotion_qwen"
WEIGHTS = PACKAGE / "nano" / "model.safetensors"
WIDTH, HEIGHT = 1280, 900
"""Of the page, pixels."""


def shipped() -> str:
    """Return the SHA-256 of the weights in the package."""
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


def main() -> None:
    """Make both pictures."""
    from playwright.sync_api import sync_playwright

    from emotion_qwen.batch.demo import make_demo_clip

    with tempfile.TemporaryDirectory() as folder:
        clip, page = make_demo_clip(Path(folder) / "astronaut.mp4"), Path(folder) / "report.html"
        command = [sys.executable, "-m", "emotion_qwen.cli", "analyze", clip.name, "--model", "nano"]
        views = ["--picture", str(IMAGES / "report.svg"), "--html", page.name]
        subprocess.run([*command, *views], check=True, cwd=folder)
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=shutil.which("chromium"))
            tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            tab.goto(page.as_uri())
            tab.wait_for_timeout(1500)
            tab.screenshot(path=IMAGES / "page.png")
            browser.close()
    (IMAGES / "made.json").write_text(json.dumps({"model": "nano", "weights": shipped()}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
