import csv
import json

import pytest

from loracle.data.loading import load_task
from loracle.data.writing import save_task
from loracle.errors import ConfigError, FileError

LABELS = ("a, b", 'c "d"\ne', "f\rg", " h ", "NA", "größe 日本 🙂", "'")


def splits(task):
    return task.train, task.validation, task.test


@pytest.fixture
def hostile(tmp_path):
    """A table whose texts, labels and groups hold every character that CSV has trouble with."""
    path = tmp_path / "hostile.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["review", "kind", "who, exactly"])
        for row in range(140):
            text = f' {row}: "quoted",\r\n lone \r and\n; it’s\t<br /> '
            writer.writerow([text, LABELS[row % len(LABELS)], f'who "{row // 2}"\r,'])
    return path


@pytest.fixture
def task(write_csv, reviews):
    return load_task(write_csv(reviews(20)))


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_what_is_written_loads_again_with_the_same_splits(hostile, tmp_path, format):
    task = load_task(hostile, label_column="kind", group_column="who, exactly")
    folder = save_task(task, tmp_path / "test prepared", format=format)
    again = load_task(folder)
    assert again.label_names == task.label_names == tuple(sorted(LABELS))
    assert [split.hash for split in splits(again)] == [split.hash for split in splits(task)]
    assert again.notes == ()
    grouped = load_task(folder, group_column="group")
    assert [list(split.rows["group"]) for split in splits(grouped)] == [list(s.rows["group"]) for s in splits(task)]


def test_many_small_labels_load_again_too(write_csv, reviews, tmp_path):
    task = load_task(write_csv(reviews(3, tuple(f"label {number}" for number in range(40)))))
    again = load_task(save_task(task, tmp_path / "prepared"))
    assert [split.hash for split in splits(again)] == [split.hash for split in splits(task)]


def test_the_folder_holds_columns_labels_and_the_record(task, tmp_path):
    folder = save_task(task, tmp_path / "prepared")
    with (folder / "test.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert [(row["text"], row["label"]) for row in written] == [
        (text, task.label_names[label]) for text, label in zip(task.test.texts, task.test.labels, strict=True)
    ]
    assert json.loads((folder / "labels.json").read_text(encoding="utf-8")) == ["bad", "good"]
    record = json.loads((folder / "preparation.json").read_text(encoding="utf-8"))
    assert record["options"] == task.options
    assert {name: split["hash"] for name, split in record["splits"].items()} == {s.name: s.hash for s in splits(task)}
    missing = {"name": "missing", "rows_before": 40, "rows_removed": 0, "rows_after": 40, "changed": 0}
    assert record["steps"] == [missing]
    assert record["notes"] == list(task.notes)


def test_a_folder_that_was_written_before_is_replaced_whole(task, tmp_path):
    save_task(task, tmp_path / "prepared", format="parquet")
    folder = save_task(task, tmp_path / "prepared")
    names = {"train.csv", "validation.csv", "test.csv", "labels.json", "preparation.json"}
    assert {path.name for path in folder.iterdir()} == names


@pytest.mark.parametrize("name", ["notes.txt", "train.csv"])
def test_a_folder_with_anything_else_is_refused_and_stays(task, tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(FileError, match="did not write"):
        save_task(task, folder)
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text() == "mine"


def test_a_file_added_to_a_prepared_folder_is_not_removed(task, tmp_path):
    folder = save_task(task, tmp_path / "prepared")
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileError, match=r"holds 'notes.txt', which `loracle prepare` did not write and would remove"):
        save_task(task, folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_existing_file_and_an_unknown_format_are_refused(task, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileError, match="is a file; --out takes a folder"):
        save_task(task, tmp_path / "file")
    with pytest.raises(ConfigError, match="unknown format 'xls'"):
        save_task(task, tmp_path / "prepared", format="xls")
    assert [path.name for path in tmp_path.iterdir() if path.name != "reviews.csv"] == ["file"]


def test_what_breaks_half_way_leaves_the_folder_as_it_was(task, tmp_path):
    folder = save_task(task, tmp_path / "prepared")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def stop(what, rows):
        if what == "writing test.csv":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_task(task, folder, on_rows=stop)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"prepared", "reviews.csv"}
