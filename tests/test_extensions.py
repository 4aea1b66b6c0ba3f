import sys
from importlib.metadata import EntryPoint

import pytest

from emotion_qwen.errors import MissingPackage, SettingsError
from emotion_qwen.extensions import beside, load_file, load_installed, split_file


@pytest.fixture(autouse=True)
def modules_and_path_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my.py", ("my.py", "")),
        ("a/my.py:shapes", ("a/my.py", "shapes")),
        (r"C:\a\my.py:shapes", (r"C:\a\my.py", "shapes")),
        ("shapes", None),
        ("my.pyc:shapes", None),
    ],
)
def test_a_file_and_a_name_in_it(text, expected):
    assert split_file(text) == expected


def test_a_lone_file_can_import_its_neighbour(tmp_path):
    (tmp_path / "lone_neighbour.py").write_text("VALUE = 3\n")
    (tmp_path / "lone_file.py").write_text("from lone_neighbour import VALUE\n")
    module = load_file(tmp_path / "lone_file.py")
    assert module.VALUE == 3 and module.__name__ == "lone_file" and load_file(tmp_path / "lone_file.py") is module


def test_a_file_in_a_package_has_its_dotted_name(tmp_path):
    package = tmp_path / "outer_recipes" / "small"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "words.py").write_text("VALUE = 4\n")
    (package / "parts.py").write_text("from outer_recipes.small.words import VALUE\n")
    module = load_file(package / "parts.py")
    assert module.VALUE == 4 and module.__name__ == "outer_recipes.small.parts"


def test_a_file_that_cannot_be_imported_is_told_in_one_line(tmp_path):
    with pytest.raises(SettingsError, match="absent.py' does not exist; give the path of a Python file"):
        load_file(tmp_path / "absent.py")
    (tmp_path / "without_package.py").write_text("import no_such_package\n")
    with pytest.raises(MissingPackage, match="'no_such_package' is not installed"):
        load_file(tmp_path / "without_package.py")
    for name, text in (("without_itself.py", "import without_itself.more\n"), ("no_python.py", "def f(:\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(SettingsError, match=rf"{name}: cannot be imported \(.+\); correct the file") as caught:
            load_file(tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "json.py").touch()
    with pytest.raises(SettingsError, match="another module is already called 'json'.*rename the file"):
        load_file(tmp_path / "json.py")


def test_an_entry_point_that_cannot_be_loaded_names_itself():
    assert load_installed(EntryPoint("number", "math:pi", "some.group")) == pytest.approx(3.14159, abs=1e-5)
    for value in ("no_such_package:thing", "math:no_such_name"):
        with pytest.raises(SettingsError, match="entry point 'mine' of some.group in .*: cannot be loaded"):
            load_installed(EntryPoint("mine", value, "some.group"))


def test_settings_name_files_beside_themselves(tmp_path):
    (tmp_path / "mine.py").touch()
    assert beside("mine.py:sums", tmp_path) == f"{tmp_path / 'mine.py'}:sums"
    assert beside("mine.py", tmp_path) == str(tmp_path / "mine.py")
    assert [beside(text, tmp_path) for text in ("yours.py:sums", "manifest")] == ["yours.py:sums", "manifest"]
