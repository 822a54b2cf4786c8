import gzip
import io
import itertools
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loracle.data.reading import read_batches, read_texts
from loracle.errors import DataError


def read(path_or_stream, **options):
    return [text for batch in read_texts(path_or_stream, **options) for text in batch]


def test_lines_of_a_text_file_are_texts_blank_ones_included(tmp_path):
    path = tmp_path / "new.txt"
    path.write_bytes('one\r\n\ntwo, "2"\nnaïve'.encode())
    assert read(path) == ["one", "", 'two, "2"', "naïve"]


def test_a_stream_is_plain_lines():
    assert read(io.StringIO("Late, again\n{not json\n")) == ["Late, again", "{not json"]


def test_a_stream_that_begins_with_an_object_is_json_lines():
    stream = io.StringIO('{"text": "a\\nb", "id": 1}\n{"text": null}\n{"text": "c"}\n')
    assert read(stream) == ["a\nb", "", "c"]


def test_a_stream_with_a_named_column_is_csv():
    assert read(io.StringIO('id,body\n1,"x, y"\n2,z\n'), text_column="body") == ["x, y", "z"]


def test_an_empty_stream_has_no_texts():
    assert read(io.StringIO("")) == []


def test_a_stream_that_is_not_utf8_is_refused():
    stream = io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="utf-8")
    with pytest.raises(DataError, match="not UTF-8"):
        read(stream)


def test_batches_are_no_longer_than_asked_and_keep_every_row(tmp_path):
    path = tmp_path / "new.txt"
    path.write_text("\n".join(map(str, range(10))), encoding="utf-8")
    assert [len(batch) for batch in read_texts(path, batch_size=4)] == [4, 4, 2]


def test_texts_come_from_every_table_format(tmp_path, write_csv, reviews):
    rows = reviews(3)
    csv_path = write_csv(rows)
    (tmp_path / "new.csv.gz").write_bytes(gzip.compress(csv_path.read_bytes()))
    (tmp_path / "new.jsonl").write_text("\n".join(json.dumps({"text": text}) for text, _ in rows), encoding="utf-8")
    pq.write_table(pa.table({"text": [text for text, _ in rows]}), tmp_path / "new.parquet")
    for name in ("reviews.csv", "new.csv.gz", "new.jsonl", "new.parquet"):
        assert read(tmp_path / name) == [text for text, _ in rows], name


def test_a_missing_text_is_empty_so_that_rows_stay_in_place(tmp_path):
    path = tmp_path / "new.jsonl"
    path.write_text('{"text": "a"}\n{"other": 1}\n{"text": "b"}\n', encoding="utf-8")
    assert read(path) == ["a", "", "b"]


def test_an_endless_stream_is_read_in_bounded_memory():
    class Endless(io.StringIO):
        def readline(self, size: int = -1) -> str:
            return "x" * 1000 + "\n"

        def __next__(self) -> str:
            return self.readline()

    tracemalloc.start()
    try:
        for batch in itertools.islice(read_texts(Endless(), batch_size=100), 100):
            assert len(batch) == 100
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file_to_predict_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "none.csv")


def test_only_the_named_columns_are_read(write_csv):
    path = write_csv([("a", "x", "1")], columns=("text", "label", "id"))
    assert next(read_batches(path, ["id", "text"])).to_pydict() == {"id": ["1"], "text": ["a"]}


def test_words_such_as_na_and_null_stay_texts(write_csv):
    path = write_csv([("NA", "x"), ("null", "y"), ("None", "nan")])
    assert next(read_batches(path)).to_pydict() == {"text": ["NA", "null", "None"], "label": ["x", "y", "nan"]}


def test_semicolons_separate_where_the_header_has_no_comma(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text('text;label\n"a; b";x\nc, d;y\n', encoding="utf-8")
    assert next(read_batches(path)).to_pydict() == {"text": ["a; b", "c, d"], "label": ["x", "y"]}


def test_a_json_array_is_read_like_json_lines(tmp_path):
    path = tmp_path / "reviews.json"
    path.write_text(json.dumps([{"text": "a", "label": 1}, {"text": "b", "label": 0}], indent=1), encoding="utf-8")
    assert next(read_batches(path)).to_pydict() == {"text": ["a", "b"], "label": ["1", "0"]}


@pytest.mark.parametrize("value", [["late"], {"said": "late"}])
def test_a_list_or_an_object_as_a_text_is_refused_with_its_row(tmp_path, value):
    path = tmp_path / "new.jsonl"
    path.write_text("\n".join(map(json.dumps, [{"text": "[1]", "tags": [1]}] * 6 + [{"text": value}])))
    with pytest.raises(DataError, match=r"row 7 of new.jsonl holds a list or an object in 'text'"):
        read(path, batch_size=4)
    with pytest.raises(DataError, match=r"row 7 of the input holds a list or an object in 'text'"):
        read(io.StringIO(path.read_text()), batch_size=4)
