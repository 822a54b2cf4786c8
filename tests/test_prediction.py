from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import loracle
from loracle.data.reading import read_rows
from loracle.errors import DataError
from loracle.methods.method import Classifier
from loracle.prediction import write_predictions

TEXT = 'late, again\r\nand "rude"\r'


@pytest.fixture(scope="module")
def classifier(tiny_file: Path) -> Classifier:
    return loracle.train(loracle.load_task(tiny_file), method="majority").fitted.classifier


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_other_columns_are_carried_along_in_order(classifier, tmp_path):
    with (tmp_path / "new.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("id", "review", "note"), *((f"A{row}", f"{TEXT}{row}", "a\rb") for row in range(1100))]
        )
    written = write_predictions(classifier, read_rows(tmp_path / "new.csv"), out=tmp_path / "out.csv")
    rows = read_csv(tmp_path / "out.csv")
    assert written == len(rows) == 1100
    assert list(rows[0]) == ["text", "label", "p_bad", "p_good", "id", "note"]
    assert [(row["id"], row["text"], row["note"]) for row in rows] == [
        (f"A{row}", f"{TEXT}{row}", "a\rb") for row in range(1100)
    ]


def test_columns_of_a_parquet_file_keep_their_types_in_json_lines(classifier, tmp_path):
    rows = {"id": [7, 8], "text": ["late", None], "tags": [["a"], None], "share": [0.5, 1.0]}
    pq.write_table(pa.table(rows), tmp_path / "new.parquet")
    write_predictions(classifier, read_rows(tmp_path / "new.parquet"), out=tmp_path / "out.jsonl", jsonl=True)
    first, second = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert (first["id"], first["tags"], first["share"]) == (7, ["a"], 0.5)
    assert (second["text"], second["tags"]) == ("", None)


def test_lists_and_objects_of_other_columns_are_json_in_csv_as_they_were_given(classifier, tmp_path):
    rows = {
        "text": ["late"],
        "tags": [["b", "a", "b"]],
        "spans": [[{"from": 1, "word": "late"}]],
        "by": [{"name": "é"}],
    }
    pq.write_table(pa.table(rows), tmp_path / "new.parquet")
    write_predictions(classifier, read_rows(tmp_path / "new.parquet"), out=tmp_path / "out.csv")
    (row,) = read_csv(tmp_path / "out.csv")
    assert {name: json.loads(row[name]) for name in ("tags", "spans", "by")} == {
        name: rows[name][0] for name in ("tags", "spans", "by")
    }


def test_a_column_with_the_name_of_one_that_is_written_is_kept_under_another(classifier, tmp_path):
    (tmp_path / "new.csv").write_text("text,label,p_bad,id\nlate,good,1,7\n", encoding="utf-8")
    write_predictions(classifier, read_rows(tmp_path / "new.csv"), out=tmp_path / "out.csv")
    (row,) = read_csv(tmp_path / "out.csv")
    assert list(row) == ["text", "label", "p_bad", "p_good", "label_given", "p_bad_given", "id"]
    assert (row["label_given"], row["p_bad_given"]) == ("good", "1")
    assert row["label"] == classifier.predict(["late"])[0]
    assert float(row["p_bad"]) == pytest.approx(classifier.predict_proba(["late"])[0, 0], abs=1e-6)


def test_an_unknown_text_column_is_still_refused(classifier, tmp_path):
    rows = read_rows(io.StringIO("review,id\nlate,7\n"), text_column="reviw")
    with pytest.raises(DataError, match="no column 'reviw'; did you mean 'review'"):
        write_predictions(classifier, rows, out=tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_text_without_an_answer_has_an_empty_label(classifier, tmp_path):
    class Silent:
        def predict_proba(self, texts, on_step=None):
            return np.array([[0, 1], [0, 0]], np.float32)

        def save(self, folder):
            raise AssertionError

    silent = replace(classifier, scorer=Silent())
    batch = pa.RecordBatch.from_pydict({"text": ["late", "hm"]})
    write_predictions(silent, [batch], out=tmp_path / "labelled.csv")
    assert [row["label"] for row in read_csv(tmp_path / "labelled.csv")] == [classifier.label_names[1], ""]
    assert silent.predict(["late", "hm"]) == [classifier.label_names[1], ""]
