"""Several labels a text, however they are written, become the same Task, in splits that hold each label's share."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loracle.data.loading import load_task
from loracle.data.splitting import count_labels
from loracle.data.writing import save_task
from loracle.errors import ConfigError, DataError

NAMES = ("late", "rude", "wet", "lost")


def rows(number: int = 200) -> list[dict[str, object]]:
    rng = np.random.default_rng(5)
    drawn = rng.uniform(size=(number, 4)) < [0.5, 0.3, 0.15, 0.05]
    return [
        {"text": f"Visit {row}, they said.", "labels": [name for name, there in zip(NAMES, line, strict=True) if there]}
        for row, line in enumerate(drawn)
    ]


def write(path: Path, table: list[dict[str, object]], how: str) -> Path:
    if how == "jsonl":
        path.write_text("\n".join(map(json.dumps, table)))
    elif how == "parquet":
        pq.write_table(pa.Table.from_pylist(table), path)
    else:
        join = {"lists": json.dumps, "separated": ";".join}[how]
        flat = pa.table({"text": [row["text"] for row in table], "labels": [join(row["labels"]) for row in table]})
        flat.to_pandas().to_csv(path, index=False)
    return path


@pytest.fixture
def load(tmp_path):
    def load(how: str = "jsonl", table=None, **options):
        suffix = how if how in ("jsonl", "parquet") else "csv"
        if how == "separated":
            options["label_separator"] = ";"
        return load_task(write(tmp_path / f"{how}.{suffix}", rows() if table is None else table, how), **options)

    return load


@pytest.mark.parametrize("how", ["parquet", "lists", "separated"])
def test_all_ways_to_write_several_labels_give_the_same_task(load, how):
    task, other = load("jsonl"), load(how)
    assert task.multi_label
    assert task.label_names == other.label_names == ("late", "lost", "rude", "wet")
    for split in ("train", "validation", "test"):
        assert getattr(task, split).hash == getattr(other, split).hash


def test_labels_are_a_matrix_of_what_stands_in_the_rows(load):
    task, table = load(), rows()
    for split in (task.train, task.validation, task.test):
        assert split.labels.shape == (len(split), 4)
        assert split.labels.dtype == np.uint8
        for number, line in zip(split.ids, split.labels, strict=True):
            names = [name for name, there in zip(task.label_names, line, strict=True) if there]
            assert names == sorted(table[number]["labels"])


def test_text_without_any_label_is_kept_and_noted(load):
    task = load()
    assert sum(len(split) for split in (task.train, task.validation, task.test)) == 200
    none = sum(not row["labels"] for row in rows())
    assert none
    assert any(f"{none} texts have none" in note for note in task.notes)


def test_missing_labels_are_dropped_and_an_empty_list_is_not(tmp_path):
    table = rows()
    table[0]["labels"], table[1]["labels"] = None, []
    task = load_task(write(tmp_path / "x.jsonl", table, "jsonl"))
    assert {0, 1} & {int(i) for s in (task.train, task.validation, task.test) for i in s.ids} == {1}
    assert any("1 row of x.jsonl without label" in note for note in task.notes)


def test_every_split_has_each_label_in_about_its_share(load):
    task = load(table=rows(2000))
    whole = sum(count_labels(split.labels, 4) for split in (task.train, task.validation, task.test))
    for split, share in ((task.train, 0.7), (task.validation, 0.15), (task.test, 0.15)):
        assert len(split) / 2000 == pytest.approx(share, abs=0.005)
        assert count_labels(split.labels, 4) / whole == pytest.approx(share, abs=0.02)


def test_splits_differ_by_seed_and_repeat_for_one(load):
    first, again, other = (load(split_seed=seed) for seed in (1, 1, 2))
    assert first.test.hash == again.test.hash != other.test.hash


def test_copies_stay_on_one_side_and_different_sets_are_noted(load):
    table = rows()
    table += [{**row, "labels": ["late", "rude", "wet"]} for row in table[:20]]
    task = load(table=table)
    texts = [set(split.texts) for split in (task.train, task.validation, task.test)]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert any("different sets of labels" in note for note in task.notes)


def test_groups_stay_whole_with_several_labels(load):
    table = [{**row, "customer": f"c{number // 4}"} for number, row in enumerate(rows())]
    task = load(table=table, group_column="customer")
    groups = [set(split.rows["group"]) for split in (task.train, task.validation, task.test)]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_stratified_samples_have_the_size_that_was_asked_for(load):
    task = load(table=rows(600), max_train=100, max_test=40)
    assert (len(task.train), len(task.test)) == (100, 40)
    assert count_labels(task.train.labels, 4).min() >= 1


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_saved_task_loads_again_with_the_same_splits(load, tmp_path, format):
    table = [{**row, "labels": [f"{name}; or [not]" for name in row["labels"]]} for row in rows()]
    task = load(table=table)
    again = load_task(save_task(task, tmp_path / "prepared", format=format))
    assert again.label_names == task.label_names
    assert again.multi_label
    for split in ("train", "validation", "test"):
        assert getattr(again, split).hash == getattr(task, split).hash
        assert np.array_equal(getattr(again, split).labels, getattr(task, split).labels)


def test_rare_label_is_refused_or_dropped_with_the_texts_that_have_no_other(load):
    table = rows()
    table[0]["labels"], table[1]["labels"] = ["odd"], ["odd", "late"]
    with pytest.raises(DataError, match=r"'odd' \(2\)"):
        load(table=table)
    task = load(table=table, drop_rare=True)
    assert "odd" not in task.label_names
    assert sum(len(split) for split in (task.train, task.validation, task.test)) == 199
    assert any("1 rows with them: 'odd' (2)" in note for note in task.notes)


def test_label_that_the_test_rows_alone_have_is_refused(load, tmp_path):
    extra = write(tmp_path / "test.jsonl", [{"text": "Never again.", "labels": ["odd"]}], "jsonl")
    with pytest.raises(DataError, match=r"test rows .* lack: 'odd'"):
        load(test=extra)


def test_merged_labels_of_one_text_are_one_label(load, tmp_path):
    (tmp_path / "map.toml").write_text('[merge]\n"rude" = "bad"\n"wet" = "bad"\n')
    task = load(merge=tmp_path / "map.toml")
    assert task.label_names == ("bad", "late", "lost")
    table = rows()
    for number, line in zip(task.train.ids, task.train.labels, strict=True):
        assert line[0] == bool({"rude", "wet"} & set(table[number]["labels"]))
    step = next(step for step in task.steps if step.name == "merge")
    assert step.rows_before == 200


def test_class_names_of_a_list_column_are_used(tmp_path):
    import datasets

    table = rows()
    features = datasets.Features(
        {"text": datasets.Value("string"), "labels": datasets.List(datasets.ClassLabel(names=list(NAMES)))}
    )
    codes = [[NAMES.index(name) for name in row["labels"]] for row in table]
    stored = datasets.Dataset.from_dict({"text": [row["text"] for row in table], "labels": codes}, features=features)
    stored.to_parquet(tmp_path / "named.parquet")
    assert load_task(tmp_path / "named.parquet").label_names == ("late", "lost", "rude", "wet")


def test_options_of_a_task_load_it_again(load):
    task = load("separated")
    assert load_task(**task.options).test.hash == task.test.hash


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ('["a", "b"]', {"label_separator": ";"}, ConfigError, "lists already"),
        ("a b", {"label_separator": ";"}, DataError, "no text of x.csv has two labels in 'labels' separated by ';'"),
        ("a;", {"label_separator": ";"}, DataError, "no text of x.csv has two labels in 'labels' separated by ';'"),
        ("a;b", {"label_separator": ""}, ConfigError, "label_separator is empty"),
    ],
)
def test_separator_that_separates_nothing_is_refused(tmp_path, text, options, error, message):
    quoted = text.replace('"', '""')
    path = tmp_path / "x.csv"
    path.write_text("text,labels\n" + "".join(f'Visit {row} was like this,"{quoted}"\n' for row in range(30)))
    with pytest.raises(error, match=message):
        load_task(path, **options)


@pytest.mark.parametrize("how", ["jsonl", "parquet", "lists", "separated"])
@pytest.mark.parametrize("write_bit", [int, float, bool])
def test_one_0_or_1_a_label_is_refused_and_names_are_asked_for(load, how, write_bit):
    table = [{**row, "labels": [write_bit(name in row["labels"]) for name in NAMES]} for row in rows()]
    if how == "separated":
        table = [{**row, "labels": list(map(str, row["labels"]))} for row in table]
        table[3]["labels"] = []  # an empty cell
    with pytest.raises(DataError, match=r"'labels' of .* looks like one 0 or 1 a label; write the names of the labels"):
        load(how, table=table)


def test_lists_of_the_labels_0_and_1_are_names_where_their_lengths_differ(load):
    task = load(table=[{**row, "labels": [[0], [1], [0, 1], []][place % 4]} for place, row in enumerate(rows())])
    assert task.label_names == ("0", "1")


def test_lists_that_hold_no_names_are_told_what_a_list_may_hold(load):
    with pytest.raises(DataError, match=r"one plain value a row, or as labels a list of names"):
        load(table=[{**row, "labels": [0.25, 0.75]} for row in rows()])


def test_cell_that_is_no_list_below_the_first_rows_is_named(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("text,labels\n" + 'Visit,"[""a""]"\n' * 1030 + "Visit again,b\n")
    with pytest.raises(DataError, match=r"row 1031 of x.csv holds 'b' in 'labels', no list of labels"):
        load_task(path)


def test_no_label_at_all_is_refused(load):
    with pytest.raises(DataError, match=r"no row of jsonl.jsonl has a label"):
        load(table=[{"text": f"Visit {row}", "labels": []} for row in range(30)])
