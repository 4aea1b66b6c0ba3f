"""Makes the pictures of reports from the demo clip and the shipped model: `python docs/pictures.py`.

`images/report.svg` is the terminal view; `images/page.png`, `page_phone.png` and `index.png` are pages, for which
Chromium and playwright are needed. `images/made.json` names the weights they were made with; a test compares it with
the shipped weights. The pictures of the server come from `SHOTS=FOLDER pytest -m slow tests/serving/test_browser.py`,
those of the review page from `VER_PICTURES=FOLDER pytest -m slow tests/ver/test_review.py`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

IMAGES = Path(__file__).parent / "images"
PACKAGE = Path(__file__).parents[1] / "src" / "emotion_qwen"
WEIGHTS = PACKAGE / "nano" / "model.safetensors"
SCREENS = {"page": ("report.html", 1280, 900, "light"), "page_phone": ("report.html", 390, 900, "dark"),
           "index": ("index.html", 1280, 760, "light")}  # fmt: skip
"""Picture -> page, width, height and colour scheme."""


def _covered(box: tuple[int, int, int, int]) -> Callable[[Image.Image], Image.Image]:
    def cover(picture: Image.Image) -> Image.Image:
        ImageDraw.Draw(picture).rectangle(box, fill=(90, 90, 90))
        return picture

    return cover


VARIANTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "plain": lambda picture: picture,
    "mirrored": ImageOps.mirror,
    "grey": lambda picture: ImageOps.grayscale(picture).convert("RGB"),
    "dark": lambda picture: ImageEnhance.Brightness(picture).enhance(0.25),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(6)),
    "turned": lambda picture: picture.rotate(25),
    "small": lambda picture: ImageOps.expand(picture.resize((256, 256)), 128, (40, 40, 40)),
    "mouth covered": _covered((180, 140, 275, 190)),
    "eyes covered": _covered((180, 70, 275, 125)),
    "upside down": ImageOps.flip,
}
"""Ten clips for the index: the demo clip made of a changed photograph."""


def shipped() -> str:
    """Return the SHA-256 of the weights in the package."""
    return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()


def draw_faces() -> None:
    """Make `images/express_faces.jpg`: the four identities of the drawn face with the seven emotions."""
    import numpy as np

    from emotion_qwen.express.face import draw_face
    from emotion_qwen.express.identities import IDENTITIES
    from emotion_qwen.express.marks import with_mark
    from emotion_qwen.express.prototypes import PROTOTYPES

    still, side = np.zeros(3), 176
    rows = [np.concatenate([draw_face(frame, still, who, side) for frame in PROTOTYPES], 1) for who in IDENTITIES]
    Image.fromarray(with_mark(np.concatenate(rows, 0))).save(IMAGES / "express_faces.jpg", quality=88)


def main() -> None:
    """Make all pictures."""
    draw_faces()
    from playwright.sync_api import sync_playwright
    from skimage import data

    from emotion_qwen.batch.demo import make_demo_clip

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clip = make_demo_clip(folder / "astronaut.mp4")
        for name, change in VARIANTS.items():
            make_demo_clip(folder / "clips" / f"{name}.mp4", change(Image.fromarray(data.astronaut())))
        command = [sys.executable, "-m", "emotion_qwen.cli", "analyze", "--model", "nano"]
        views = ["--picture", str(IMAGES / "report.svg"), "--html", "report.html"]
        subprocess.run([*command, clip.name, *views], check=True, cwd=folder)
        subprocess.run([*command, "clips", "--html", "pages", "--output", "r.jsonl"], check=True, cwd=folder)
        places = {"report.html": folder / "report.html", "index.html": folder / "pages" / "index.html"}
        with sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            for name, (page, width, height, scheme) in SCREENS.items():
                tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                tab.goto(places[page].as_uri())
                tab.wait_for_timeout(1500)
                tab.screenshot(path=IMAGES / f"{name}.png")
            browser.close()
    (IMAGES / "made.json").write_text(json.dumps({"model": "nano", "weights": shipped()}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
