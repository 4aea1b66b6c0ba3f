import pytest

from emotion_qwen.errors import DataError, MissingPackage, SettingsError
from emotion_qwen.evaluation.task import DOMAINS, evenly
from emotion_qwen.evaluation.tasks import GROUP, TASKS, listing, load_tasks
from emotion_qwen.evaluation.tasks.prompts import OBJECTS
from emotion_qwen.extras import optional
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set

from .prediction_files import write_pictures


@pytest.fixture
def cifar(tmp_path):
    labels = ["cat"] * 6 + ["dog"] * 6 + ["ship"]
    write_pictures(tmp_path / "pictures_cifar10.parquet", labels, splits=["validation"] * 12 + ["train"])
    return tmp_path


def test_the_table_has_both_domains_and_keys_are_names():
    assert all(name == task.name and task.domain in DOMAINS for name, task in TASKS.items())
    general = [name for name, task in TASKS.items() if task.domain == "general"]
    assert general[:3] == ["cifar", "pope", "mme"]
    evoked = {name for name, task in TASKS.items() if task.about == "evoked"}
    assert evoked == {"emoset", "artphoto", "fi", "emotion6"}


def test_tasks_are_chosen_by_name_once_and_in_order():
    assert [task.name for task in load_tasks("cifar, fer,cifar")] == ["fer", "cifar"]
    with pytest.raises(SettingsError, match="unknown task 'cifer'.*Did you mean 'cifar'"):
        load_tasks("fer,cifer")
    with pytest.raises(SettingsError, match="unknown task ''"):
        load_tasks(" ,")


OWN_TASKS = """
from dataclasses import replace
from emotion_qwen.evaluation.tasks import TASKS as KNOWN

TASKS = (replace(KNOWN["cifar"], name="{first}"), replace(KNOWN["fer"], name="second_of_{first}"))
"""


def test_tasks_of_a_file_are_chosen_together_or_by_name(tmp_path, tasks_as_before):
    path = tmp_path / "my_own_tasks.py"
    path.write_text(OWN_TASKS.format(first="mine"))
    assert [task.name for task in load_tasks(f"{path}:mine,fer")] == ["fer", "mine"]
    assert [task.name for task in load_tasks([str(path), "fer"])] == ["fer", "mine", "second_of_mine"]
    assert TASKS["mine"] is load_tasks("mine")[0], "predictions of the task can be scored"
    with pytest.raises(SettingsError, match="unknown task 'mime'; expected one of: mine, second_of_mine"):
        load_tasks(f"{path}:mime")


def test_a_file_without_tasks_or_with_a_name_that_is_taken_is_refused(tmp_path, tasks_as_before):
    path = tmp_path / "file_without_tasks.py"
    path.write_text("TASKS = ['fer']\n")
    with pytest.raises(SettingsError, match="file_without_tasks.py: no tasks; expected TASKS, a sequence of"):
        load_tasks(str(path))
    path = tmp_path / "file_with_a_taken_name.py"
    path.write_text(OWN_TASKS.format(first="fer"))
    with pytest.raises(SettingsError, match="a task named 'fer' already exists; rename one of them"):
        load_tasks(str(path))


def test_an_installed_distribution_brings_tasks(tmp_path, tasks_as_before, monkeypatch):
    (tmp_path / "tasks_of_a_distribution.py").write_text(OWN_TASKS.format(first="brought"))
    info = tmp_path / "brings_tasks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brings-tasks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nmine = tasks_of_a_distribution:TASKS\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [task.name for task in load_tasks("brought")] == ["brought"]
    assert "second_of_brought" in [row["name"] for row in listing()]


def test_pictures_of_the_validation_part_with_question_choices_and_class(cifar):
    items = TASKS["cifar"].items(cifar, side=48)
    assert len(items) == 12 and {item.group for item in items} == {"cat", "dog"}
    first = items[0]
    assert (first.id, first.answer, first.group, first.choices) == (
        "pictures_cifar10/0",
        "cat",
        "cat",
        tuple(OBJECTS),
    )
    assert first.parts[0]["type"] == "image" and first.parts[0]["image"].shape == (48, 48, 3)
    assert first.question == (
        "Which object is shown? Choose one: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck."
    )


def test_both_languages_ask_the_same_items(cifar):
    items = TASKS["cifar"].items(cifar, side=48, languages=("en", "zh"), limit=2)
    assert [(item.id[-1], item.language, item.answer, item.group) for item in items] == [
        ("0", "en", "cat", "cat"),
        ("6", "en", "dog", "dog"),
        ("0", "zh", "猫", "cat"),
        ("6", "zh", "狗", "dog"),
    ]
    assert "、" in items[2].question


def test_lfw_asks_for_seven_and_allows_two(tmp_path):
    write_pictures(tmp_path / "faces_lfw_expressions.parquet", ["happiness", "anger", "neutral", "contempt"])
    items = TASKS["lfw"].items(tmp_path, side=48, languages=("zh",))
    assert [item.group for item in items] == ["happiness", "neutral"]
    assert items[0].question == label_question(label_set("fer7"), "zh") and len(items[0].choices) == 7
    assert items[0].allowed == ("高兴", "中性") and items[0].answer == "高兴"


def test_only_what_was_held_out_is_offered(cifar):
    with pytest.raises(SettingsError, match="unknown split 'train'; expected one of: test, validation"):
        TASKS["cifar"].items(cifar, side=48, split="train")
    with pytest.raises(DataError, match="no picture has split 'test'"):
        TASKS["cifar"].items(cifar, side=48, split="test")
    with pytest.raises(SettingsError, match="unknown language 'de'"):
        TASKS["cifar"].items(cifar, side=48, languages=("de",))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"faces_fer_aligned\.parquet' does not exist.*--data"):
        TASKS["fer"].source.check(tmp_path)
    with pytest.raises(DataError, match=r"faces_fer_aligned\.parquet is needed but no data folder was given"):
        TASKS["fer"].items(None, side=48)


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingPackage, match=r"'no_such_package' is not installed.*'emotion-qwen\[eval\]'"):
        optional("no_such_package.deeper", "eval")


def test_even_spacing_gives_exactly_the_limit():
    assert evenly(10, 4) == [0, 2, 5, 7] and evenly(3, 10) == [0, 1, 2] == evenly(3, None) and evenly(0, 5) == []
    assert len(evenly(2509, 300)) == 300


def test_real_files_have_every_class(shared_data):
    items = TASKS["cifar"].items(shared_data, side=48, limit=20)
    assert {item.group for item in items} == set(OBJECTS)
