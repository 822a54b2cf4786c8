import tracemalloc
from dataclasses import fields

import numpy as np
import pytest

from loracle.data.loading import load_task
from loracle.data.preparing import Preparation
from loracle.errors import ConfigError, DataError


def all_texts(task):
    return [text for split in (task.train, task.validation, task.test) for text in split.texts]


def rows(task):
    return sum(len(split) for split in (task.train, task.validation, task.test))


def steps(task):
    return {step.name: (step.rows_before, step.rows_removed, step.rows_after, step.changed) for step in task.steps}


@pytest.fixture
def shop(write_csv, reviews):
    """40 texts with tags, case and blanks; two that are too short, and two without a text."""
    texts = [(f"<b>{text}</b>", label) for text, label in reviews(20)]
    return write_csv([*texts, ("Too short", "bad"), ("<br />", "good"), ("", "bad"), (" ", "good")])


@pytest.fixture
def write_customers(tmp_path):
    def write(number: int = 60):
        """Three rows of each customer, of two labels."""
        lines = [f"text {row} of customer {row // 3},{'ab'[row % 2]},{row // 3}" for row in range(3 * number)]
        path = tmp_path / "shop.csv"
        path.write_text("\n".join(["text,label,customer", *lines]) + "\n", encoding="utf-8")
        return path

    return write


def test_nothing_is_done_unless_asked(shop):
    assert Preparation().rewrites == ()
    task = load_task(shop)
    assert "<br />" in all_texts(task)
    assert steps(task) == {"missing": (44, 2, 42, 0)}


def test_an_option_is_a_keyword_of_load_task_with_the_same_default():
    given = load_task.__kwdefaults__
    assert {field.name: field.default for field in fields(Preparation)}.items() <= given.items()


def test_steps_are_done_in_order_and_each_is_counted(shop):
    task = load_task(
        shop,
        **dict.fromkeys(("strip_html", "lower", "strip_punctuation", "ascii_only", "normalise_space"), True),
        min_words=3,
        min_rows=5,
    )
    assert "visit 3 they said it was bad nave" in all_texts(task)
    assert steps(task) == {
        "missing": (44, 2, 42, 0),
        "strip_html": (42, 0, 42, 41),
        "lower": (42, 0, 42, 41),
        "strip_punctuation": (42, 0, 42, 40),
        "ascii_only": (42, 0, 42, 40),
        "normalise_space": (42, 0, 42, 41),
        "min_words": (42, 2, 40, 0),
        "min_rows": (40, 0, 40, 0),
    }
    assert list(steps(task)) == [step.name for step in task.steps]
    assert "strip_html changed 41 of 42 texts." in task.notes
    assert "2 of 42 texts with fewer than 3 words dropped." in task.notes


def test_a_text_that_a_step_empties_is_dropped(shop):
    task = load_task(shop, strip_html=True)
    assert steps(task)["min_words"] == (42, 1, 41, 0)
    assert all(text.strip() for text in all_texts(task))


def test_ids_stay_those_of_the_source(shop, reviews):
    task = load_task(shop, strip_html=True, min_words=3)
    source = [text for text, _ in reviews(20)]
    for split in (task.train, task.validation, task.test):
        assert [source[row] for row in split.ids] == list(split.texts)


def test_texts_that_are_equal_after_cleaning_are_copies(write_csv, reviews):
    texts = reviews(30)
    shouted = [(f"<p>{text.upper()}</p>  ", label) for text, label in texts]
    path = write_csv(texts + shouted)
    assert not any("exact duplicates" in note for note in load_task(path).notes)
    task = load_task(path, strip_html=True, lower=True)
    assert any(note.startswith("60 exact duplicates") for note in task.notes)
    sides = [{text.strip() for text in split.texts} for split in (task.train, task.validation, task.test)]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_all_given_splits_are_prepared_and_counted_together(tmp_path, write_csv, reviews):
    texts = [(text.upper(), label) for text, label in reviews(30)]
    write_csv(texts[:40], "shop/train.csv")
    write_csv([*texts[40:], ("short", "bad")], "shop/test.csv")
    task = load_task(tmp_path / "shop", lower=True, min_words=2)
    assert all(text.islower() for text in all_texts(task))
    assert steps(task)["lower"] == (61, 0, 61, 60)
    assert steps(task)["min_words"] == (61, 1, 60, 0)


def test_cleaning_that_makes_a_train_text_a_test_text_removes_it_from_train(tmp_path, write_csv, reviews):
    texts = reviews(30)
    write_csv([*texts[:40], (texts[50][0].upper(), texts[50][1])], "shop/train.csv")
    write_csv(texts[40:], "shop/test.csv")
    task = load_task(tmp_path / "shop", lower=True)
    assert any(note.startswith("1 train rows whose text is also in test") for note in task.notes)
    assert steps(task)["overlaps"] == (61, 1, 60, 0)


def test_a_sample_is_stratified_and_seeded(write_csv, reviews):
    path = write_csv([*reviews(100, ("a", "b")), *reviews(20, ("c",))])
    task, again, other = (load_task(path, sample=0.5, split_seed=seed) for seed in (1, 1, 2))
    counts = sum(np.bincount(split.labels) for split in (task.train, task.validation, task.test))
    assert counts.tolist() == [50, 50, 10]
    assert all_texts(task) == all_texts(again)
    assert set(all_texts(task)) != set(all_texts(other))
    assert steps(task)["sample"] == (220, 110, 110, 0)


def test_labels_with_few_rows_are_dropped_after_the_sample(write_csv, reviews):
    path = write_csv([*reviews(20), *reviews(6, ("odd",))])
    assert load_task(path, min_rows=6).label_names == ("bad", "good", "odd")
    task = load_task(path, min_rows=6, sample=0.5)
    assert task.label_names == ("bad", "good")
    assert any("fewer than 6 rows dropped, 3 rows with them: 'odd' (3)" in note for note in task.notes)
    assert steps(task)["min_rows"] == (23, 3, 20, 0)


def test_a_label_that_is_left_without_texts_is_dropped_and_noted(write_csv, reviews):
    task = load_task(write_csv([*reviews(20), ("short", "odd")]), min_words=2)
    assert task.label_names == ("bad", "good")
    assert any("'odd' (0)" in note for note in task.notes)


def test_the_rows_of_a_group_are_on_one_side(write_customers):
    task = load_task(write_customers(), group_column="customer")
    sides = [set(split.rows["group"]) for split in (task.train, task.validation, task.test)]
    assert sorted(map(int, set.union(*sides))) == list(range(60))
    assert sum(map(len, sides)) == 60
    assert [len(split) for split in (task.train, task.validation, task.test)] == [126, 27, 27]
    for split in (task.train, task.validation, task.test):
        assert all(
            text.endswith(f"customer {group}") for text, group in zip(split.texts, split.rows["group"], strict=True)
        )
    assert any("the 60 groups of 'customer' are whole" in note for note in task.notes)


def test_a_text_that_two_groups_share_is_removed_from_the_earlier_side(tmp_path):
    lines = [f"text {row // 2},{'ab'[row // 2 % 2]},{row}" for row in range(200)]  # each text stands with two customers
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(["text,label,customer", *lines]), encoding="utf-8")
    task = load_task(path, group_column="customer")
    sides = [set(split.texts) for split in (task.train, task.validation, task.test)]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert steps(task)["overlaps"][1] == 200 - rows(task) > 0


def test_groups_of_given_test_rows_are_removed_from_train(write_customers, tmp_path):
    path = write_customers(40)
    exam = tmp_path / "exam.csv"
    exam.write_text("text,label,customer\nnew text,a,0\nother text,b,1\n", encoding="utf-8")
    task = load_task(path, test=exam, group_column="customer")
    assert not set(task.train.rows["group"]) & {"0", "1"}
    assert any(note.startswith("6 train rows whose 'customer' is also in test") for note in task.notes)


def test_rows_without_a_group_are_dropped_counted_and_refused_when_strict(write_customers):
    path = write_customers()
    path.write_text(path.read_text(encoding="utf-8") + "a text,a,\n", encoding="utf-8")
    task = load_task(path, group_column="customer")
    assert rows(task) == 180
    assert any("1 row of shop.csv without group in 'customer' dropped" in note for note in task.notes)
    with pytest.raises(DataError, match="rows without text or label or group"):
        load_task(path, group_column="customer", strict=True)


def test_a_group_column_that_looks_like_labels_is_not_guessed_as_one(write_customers):
    path = write_customers(15)
    path.write_text(path.read_text(encoding="utf-8").replace("label", "kind"), encoding="utf-8")
    with pytest.raises(DataError, match=r"label column of shop\.csv could be any of 'kind', 'customer'"):
        load_task(path)
    assert load_task(path, group_column="customer").label_column == "kind"


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("custmer", "no column 'custmer'; did you mean 'customer'"),
        ("label", "the column of texts or labels"),
        ("same", "has 1 distinct value in the rows to divide; at least 3"),
        ("two", "has 2 distinct values"),
    ],
)
def test_a_group_column_that_cannot_be_used_is_refused(tmp_path, column, said):
    path = tmp_path / "shop.csv"
    lines = [f"text {row},{'ab'[row % 2]},{row},x,{row % 2}" for row in range(40)]
    path.write_text("\n".join(["text,label,customer,same,two", *lines]), encoding="utf-8")
    with pytest.raises(DataError, match=said) as raised:
        load_task(path, text_column="text", label_column="label", group_column=column)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("sample", [0, 1.5, -1, float("nan"), float("inf")])
def test_a_sample_out_of_range_is_refused(sample):
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        Preparation(sample=sample)


@pytest.mark.parametrize("name", ["min_words", "min_rows"])
def test_a_least_number_below_one_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is 0; allowed: 1 or more"):
        load_task(**{name: 0})


def test_what_leaves_nothing_is_refused_with_what_there_was(shop):
    with pytest.raises(DataError, match="has 50 words or more, the longest has 9; give a smaller --min-words"):
        load_task(shop, min_words=50)
    with pytest.raises(DataError, match=r"the 22 rows that are wanted \(largest: 'bad' \(21\), 'good' \(21\)\)"):
        load_task(shop, min_rows=22)


def test_a_task_is_loaded_again_from_its_options(write_customers, tmp_path):
    path = tmp_path / "map.toml"
    path.write_text('[merge]\na = "aye"\n', encoding="utf-8")
    task = load_task(write_customers(), lower=True, merge=path, sample=0.8, group_column="customer", split_seed=3)
    again = load_task(**task.options)
    assert task.options["merge"] == str(path)
    assert again.describe() == task.describe()
    assert again.options == task.options


def test_rows_are_told_as_they_are_read_and_written(shop):
    told = []
    load_task(shop, on_rows=lambda what, rows: told.append((what, rows)))
    assert told[0] == ("reading reviews.csv", 44)
    assert {what for what, _ in told[1:]} == {"writing train", "writing validation", "writing test"}


def test_texts_are_cleaned_without_all_of_them_in_memory(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for row in range(20_000):
            file.write(f"<b>{row}</b> {'x' * 2_000},{'ab'[row % 2]}\n")  # 40 MB
    load_task(path, strip_html=True, max_train=100, max_test=100)  # what is imported on the way is not counted
    tracemalloc.start()
    try:
        load_task(path, strip_html=True, lower=True, normalise_space=True)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
