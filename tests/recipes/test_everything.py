"""The page over every set names tasks that exist, and says what was not measured and what cannot be asked."""

from emotion_qwen.evaluation.run.leaderboard import Leaderboard
from recipes.everything import FILES, files_table
from recipes.mini.tasks import BY_NAME


def test_every_file_has_a_task_that_reads_it_or_a_reason():
    for file, (tasks, note) in FILES.items():
        assert (tasks or note) and all(file in BY_NAME[name].needs for name in tasks)


def test_what_was_not_measured_is_named():
    *_, table = files_table(Leaderboard(("nano",), ()))
    rows = {(row[0], row[1]): row[-1] for row in table.rows}
    assert rows["text_isear.parquet", "isear"] == "not measured"
    assert rows["pope_coco_questions.parquet", ""].startswith("no test")
