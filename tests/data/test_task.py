import json
import pickle

import numpy as np
import pytest

from loracle.data.loading import load_task


@pytest.fixture
def task(write_csv, reviews):
    return load_task(write_csv(reviews(20)))


def test_a_split_is_as_long_as_its_texts_labels_and_ids(task):
    split = task.train
    assert len(split) == len(split.texts) == len(split.labels) == len(split.ids) == 28
    assert split.labels.dtype == split.ids.dtype == np.int64
    assert split.texts[:2] == [split.texts[0], split.texts[1]]


def test_rows_are_memory_mapped_with_three_typed_columns(task):
    assert task.train.rows.cache_files
    assert {name: str(field.dtype) for name, field in task.train.rows.features.items()} == {
        "id": "int64",
        "text": "string",
        "label": "int64",
    }


def test_hash_depends_on_texts_labels_and_order_alone(task):
    rows = task.train.rows
    again = type(task.train)("other name", rows)
    turned = type(task.train)("train", rows.select(range(len(rows))[::-1]))
    assert again.hash == task.train.hash
    assert turned.hash != task.train.hash
    assert len(again.hash) == 16
    assert int(again.hash, 16) >= 0


def test_a_selected_split_keeps_texts_labels_and_ids_together(task):
    places = [5, 2, 9]
    some = type(task.train)("train", task.train.rows.select(places))
    assert list(some.texts) == [task.train.texts[place] for place in places]
    assert some.labels.tolist() == task.train.labels[places].tolist()
    assert some.ids.tolist() == task.train.ids[places].tolist()


def test_describe_is_json_and_counts_every_row(task):
    described = json.loads(json.dumps(task.describe()))
    assert described["label_names"] == ["bad", "good"]
    assert list(described["splits"]) == ["train", "validation", "test"]
    for name, split in described["splits"].items():
        assert sum(split["per_label"].values()) == split["rows"] == len(getattr(task, name))
        assert split["hash"] == getattr(task, name).hash


def test_a_task_goes_through_pickle(task):
    again = pickle.loads(pickle.dumps(task))
    assert again.describe() == task.describe()


def test_a_task_cannot_be_changed(task):
    with pytest.raises(AttributeError):
        task.name = "other"
