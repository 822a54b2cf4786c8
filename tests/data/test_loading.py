import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loracle.data.loading import load_task
from loracle.errors import ConfigError


def splits(task):
    return task.train, task.validation, task.test


def texts(task):
    return [list(split.texts) for split in splits(task)]


def pack(path, suffix):
    packed = path.with_name(path.name + suffix)
    if suffix == ".gz":
        packed.write_bytes(gzip.compress(path.read_bytes()))
    else:
        with pa.output_stream(str(packed), compression="zstd") as sink:
            sink.write(path.read_bytes())
    return packed


def write_table(rows, path):
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]}), path)
    elif path.suffix == ".tsv":
        quoted = [f'"{text.replace(chr(34), chr(34) * 2)}"\t{label}\n' for text, label in rows]
        path.write_text("text\tlabel\n" + "".join(quoted), encoding="utf-8")
    else:
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_importing_the_room_imports_neither_torch_nor_datasets():
    check = "import sys, loracle.data; print({'torch', 'datasets', 'pandas', 'sklearn', 'pyarrow'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).strip() == "set()"


def test_one_table_becomes_three_stratified_splits_of_all_its_rows(write_csv, reviews):
    rows = reviews(100)
    task = load_task(write_csv(rows))
    assert task.name == "reviews"
    assert task.label_names == ("bad", "good")
    assert [len(split) for split in splits(task)] == [140, 30, 30]
    assert [np.bincount(split.labels).tolist() for split in splits(task)] == [[70, 70], [15, 15], [15, 15]]
    for split in splits(task):
        for text, label, row in zip(split.texts, split.labels, split.ids, strict=True):
            assert rows[row] == (text, task.label_names[label])
    assert sorted(np.concatenate([split.ids for split in splits(task)])) == list(range(200))


def test_every_format_gives_the_same_splits(tmp_path, write_csv, reviews):
    rows = reviews(20)
    plain = [write_csv(rows)]
    plain += [write_table(rows, tmp_path / f"reviews.{suffix}") for suffix in ("tsv", "jsonl", "ndjson", "parquet")]
    expected = [split.hash for split in splits(load_task(plain[0]))]
    for path in [*plain, *(pack(path, suffix) for path in plain for suffix in (".gz", ".zst"))]:
        task = load_task(path)
        assert [split.hash for split in splits(task)] == expected, path.name
        assert task.name == "reviews"


def test_integers_and_bools_are_labels_too(tmp_path):
    for values, names in (([10, 9], ("9", "10")), ([True, False], ("false", "true"))):
        rows = [(f"text {row}", values[row % 2]) for row in range(20)]
        for suffix in ("jsonl", "parquet"):
            task = load_task(write_table(rows, tmp_path / f"reviews.{suffix}"))
            assert task.label_names == names


def test_class_labels_have_their_names(tmp_path):
    import datasets

    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "aye"])})
    rows = {"text": [f"text {row}" for row in range(21)], "label": [*[0, 1] * 10, -1]}
    saved = datasets.Dataset.from_dict(rows, features=features)
    with (tmp_path / "reviews.parquet").open("wb") as file:
        pq.write_table(saved.data.table, file)
    saved.save_to_disk(str(tmp_path / "saved"))
    for name in ("reviews.parquet", "saved"):
        task = load_task(tmp_path / name)
        assert task.label_names == ("aye", "no")
        assert task.label_names[task.train.labels[0]] == ("no", "aye")[task.train.ids[0] % 2]
        assert any("1 row" in note and "without label" in note for note in task.notes)


def test_the_same_seed_gives_the_same_splits_and_another_seed_others(write_csv, reviews):
    path = write_csv(reviews(30))
    first, again, other = (load_task(path, split_seed=seed) for seed in (4, 4, 5))
    assert texts(first) == texts(again)
    assert texts(first) != texts(other)


def test_copies_stay_on_one_side_and_are_counted(write_csv, reviews):
    rows = reviews(30)
    copies = [(f"  {text}\n", label) for text, label in rows[:20]]
    task = load_task(write_csv(rows + copies))
    sides = [{text.strip() for text in split} for split in texts(task)]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert any(note.startswith("20 exact duplicates") for note in task.notes)


def test_a_text_with_two_labels_is_counted_and_stays_on_one_side(write_csv, reviews):
    rows = reviews(30)
    task = load_task(write_csv([*rows, (rows[0][0], "good"), (rows[1][0], "bad")]))
    assert any(note.startswith("2 texts stand with more than one label") for note in task.notes)


def test_a_folder_with_three_files_is_taken_as_it_is(tmp_path, write_csv, reviews):
    rows = reviews(30)
    for name, part in (("train", rows[:40]), ("validation", rows[40:50]), ("test", rows[50:])):
        write_csv(part, f"shop/{name}.csv")
    task = load_task(tmp_path / "shop")
    assert task.name == "shop"
    assert texts(task) == [[text for text, _ in part] for part in (rows[:40], rows[40:50], rows[50:])]
    assert task.test.ids.tolist() == list(range(10))


def test_a_folder_of_parquet_shards_is_read_in_order(tmp_path, reviews):
    rows = reviews(30)
    (tmp_path / "shop" / "data").mkdir(parents=True)
    for shard in range(2):
        name = f"train-{shard:05d}-of-00002.parquet"
        write_table(rows[30 * shard : 30 * (shard + 1)], tmp_path / "shop" / "data" / name)
    task = load_task(tmp_path / "shop")
    for split in splits(task):
        assert [rows[row][0] for row in split.ids] == list(split.texts)


def test_a_folder_of_lines_is_loaded_through_datasets(tmp_path):
    import datasets

    rows = {"text": [f"text {row}" for row in range(20)], "label": ["a", "b"] * 10}
    folder = tmp_path / "shop"
    folder.mkdir()
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "saved"))
    (folder / "train.arrow").write_bytes(next((tmp_path / "saved").glob("*.arrow")).read_bytes())
    assert sum(len(split) for split in splits(load_task(folder))) == 20


def test_a_hub_name_is_loaded_and_its_other_splits_are_named(monkeypatch, reviews):
    import datasets

    def load(name):
        parts = {"train": rows[:60], "test": rows[60:], "unsupervised": [("no label", None)]}
        return datasets.DatasetDict({split: make(part) for split, part in parts.items()})

    def make(part):
        return datasets.Dataset.from_dict({"text": [text for text, _ in part], "label": [label for _, label in part]})

    rows = reviews(40)
    monkeypatch.setattr("loracle.data.sources._answers", lambda endpoint: True)
    monkeypatch.setattr("datasets.load_dataset", load)
    task = load_task("owner/reviews")
    assert task.name == task.source == "owner/reviews"
    assert list(task.test.texts) == [text for text, _ in rows[60:]]
    assert "Splits not used: unsupervised." in task.notes


def test_validation_is_a_tenth_of_train_where_only_test_is_given(tmp_path, write_csv, reviews):
    rows = reviews(60)
    write_csv(rows[:100], "shop/train.csv")
    write_csv(rows[100:], "shop/test.csv")
    task = load_task(tmp_path / "shop")
    assert [len(split) for split in splits(task)] == [90, 10, 20]
    assert any("train, validation (90/10 %)" in note for note in task.notes)


def test_test_is_made_from_train_where_only_validation_is_given(tmp_path, write_csv, reviews):
    rows = reviews(60)
    write_csv(rows[:100], "shop/train.csv")
    write_csv(rows[100:], "shop/dev.csv")
    task = load_task(tmp_path / "shop")
    assert len(task.validation) == 20
    assert len(task.test) in (14, 15, 16)
    assert len(task.train) == 100 - len(task.test)


def test_a_test_file_is_the_test_split(write_csv, reviews):
    rows = reviews(40)
    task = load_task(write_csv(rows[:60]), test=write_csv(rows[60:], "exam.csv"))
    assert list(task.test.texts) == [text for text, _ in rows[60:]]
    assert len(task.train) + len(task.validation) == 60


def test_test_texts_are_removed_from_train_and_validation(tmp_path, write_csv, reviews):
    rows = reviews(40)
    write_csv(rows[:60], "shop/train.csv")
    write_csv(rows[50:70], "shop/validation.csv")
    write_csv([(text + "  ", label) for text, label in [*rows[:2], *rows[65:]]], "shop/test.csv")
    task = load_task(tmp_path / "shop")
    sides = [{text.strip() for text in split} for split in texts(task)]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert [len(side) for side in sides] == [48, 15, 17]
    notes = " ".join(task.notes)
    assert "2 train rows whose text is also in test" in notes
    assert "10 train rows whose text is also in validation" in notes
    assert "5 validation rows whose text is also in test" in notes


def test_samples_are_stratified_repeatable_and_keep_source_rows(write_csv, reviews):
    rows = reviews(200, ("a", "b", "c"))
    path = write_csv(rows)
    task, again = (load_task(path, max_train=60, max_test=30, split_seed=2) for _ in range(2))
    assert texts(task) == texts(again)
    assert [np.bincount(split.labels).tolist() for split in splits(task)] == [[20] * 3, [5] * 3, [10] * 3]
    for split in splits(task):
        assert [rows[row][0] for row in split.ids] == list(split.texts)


def test_validation_keeps_two_texts_a_label_in_a_small_sample(write_csv, reviews):
    task = load_task(write_csv(reviews(50)), max_train=4)
    assert [np.bincount(split.labels).tolist() for split in splits(task)[:2]] == [[2, 2], [2, 2]]


def test_max_train_under_the_number_of_labels_is_refused(write_csv, reviews):
    path = write_csv(reviews(20, ("a", "b", "c")))
    with pytest.raises(ConfigError, match="max_train is 2; with 3 labels it must be at least 3"):
        load_task(path, max_train=2)
    with pytest.raises(ConfigError, match="max_test is 0"):
        load_task(path, max_test=0)


def test_rows_without_text_or_label_are_dropped_and_counted(write_csv, reviews):
    task = load_task(write_csv([("", "bad"), *reviews(20), ("  \t", "good"), ("text", " ")]))
    assert sum(len(split) for split in splits(task)) == 40
    assert min(split.ids.min() for split in splits(task)) == 1
    assert any(note.startswith("2 rows") and "without text" in note for note in task.notes)
    assert any(note.startswith("1 row ") and "without label" in note for note in task.notes)


def test_a_text_of_a_megabyte_is_kept_and_noted(write_csv, reviews):
    long = "word " * 400_000
    task = load_task(write_csv([*reviews(20), (long, "bad")]))
    assert sum(text == long for split in texts(task) for text in split) == 1
    assert any("longer than a megabyte" in note for note in task.notes)


def test_rare_labels_are_dropped_only_when_asked(write_csv, reviews):
    rows = [*reviews(20), ("one", "odd"), ("one", "odd"), ("two", "odd")]
    task = load_task(write_csv(rows), drop_rare=True)
    assert task.label_names == ("bad", "good")
    assert sum(len(split) for split in splits(task)) == 40
    assert any("'odd' (2)" in note and "3 rows" in note for note in task.notes)


def test_a_label_that_test_lacks_is_noted(write_csv, reviews):
    exam = write_csv([("new text", "good")], "exam.csv")
    task = load_task(write_csv(reviews(20)), test=exam)
    assert any("No test row has the label 'bad'" in note for note in task.notes)


def test_a_changed_file_is_read_again_even_with_the_same_size_and_time(write_csv, reviews):
    path = write_csv(reviews(20))
    before, stamp = load_task(path), path.stat()
    path.write_text(path.read_text(encoding="utf-8").replace("Visit", "Vigil"), encoding="utf-8")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    after = load_task(path)
    assert all(text.startswith("Vigil") for split in texts(after) for text in split)
    assert all(text.startswith("Visit") for split in texts(before) for text in split)


def test_nothing_is_written_beside_the_data_and_nothing_is_printed(tmp_path, cache, write_csv, reviews, capfd):
    rows = reviews(30)
    write_csv(rows[:40], "shop/train.csv")
    write_csv(rows[40:], "shop/test.csv")
    load_task(tmp_path / "shop")
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "shop",
        "shop/test.csv",
        "shop/train.csv",
    ]
    assert capfd.readouterr() == ("", "")
    assert not list((cache / "datasets" / "loracle").glob(".*")), "no workspace is left behind"


def test_ctrl_c_leaves_no_half_file_behind(cache, write_csv, reviews, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    path = write_csv(reviews(20))
    load_task(path)
    before = set((cache / "datasets" / "loracle").iterdir())
    monkeypatch.setattr("loracle.data.loading._rows", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_task(path)
    assert set((cache / "datasets" / "loracle").iterdir()) == before


def test_without_data_the_embedded_set_is_loaded(tmp_path, write_csv, reviews, monkeypatch):
    rows = reviews(20, tuple("abcdefghi"))
    for name, part in (("train", rows[:90]), ("validation", rows[90:117]), ("test", rows[117:])):
        write_csv(part, f"sample/{name}.csv")
    monkeypatch.setattr("loracle.data.sources.SAMPLE", tmp_path / "sample")
    task = load_task()
    assert task.name == task.source == "complaints-mini"
    assert [len(split) for split in splits(task)] == [90, 27, 63]
    assert task.notes == ()


def test_a_table_that_lies_beside_the_folders_that_are_read_is_noted(tmp_path):
    rows = "text,label\n" + "".join(f"text {number},{'ab'[number % 2]}\n" for number in range(40))
    (tmp_path / "data" / "inner").mkdir(parents=True)
    for place in ("inner/train.csv", "inner/test.csv", "loose.csv"):
        (tmp_path / "data" / place).write_text(rows.replace("text ", f"{place} "), encoding="utf-8")
    notes = load_task(tmp_path / "data").notes
    assert "Read inner/test.csv, inner/train.csv; not used: loose.csv." in notes
