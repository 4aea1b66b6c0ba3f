"""The pictures of the README are made with the weights that ship."""

import json

from tests.documentation.test_site import DOCS, module


def test_the_pictures_were_made_with_the_shipped_weights():
    made = json.loads((DOCS / "images" / "made.json").read_text(encoding="utf-8"))
    assert made["weights"] == module("pictures").shipped(), "run: python docs/pictures.py"
