"""Every way in which data can be bad ends in one line that says what was given and what to do."""

import gzip
import json
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loracle.data.loading import load_task
from loracle.errors import DataError


def refusal(data, **options) -> str:
    with pytest.raises(DataError) as raised:
        load_task(data, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "reviews.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def good(write_csv, reviews):
    return write_csv(reviews(20), "good.csv")


def test_a_missing_file_is_refused_with_close_names(tmp_path, good):
    message = refusal(tmp_path / "goood.csv")
    assert "no such file" in message
    assert "did you mean 'good.csv'?" in message


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "./a", "~/nothing", "shop/reviews.csv.gz", "C:\\a", "a/"])
def test_what_looks_like_a_path_is_never_sought_on_the_hub(name, monkeypatch):
    monkeypatch.setattr("loracle.data.sources._hub_tables", lambda name: pytest.fail("asked the Hub"))
    assert "no such file" in refusal(name)


def test_an_empty_name_is_refused():
    assert "is empty" in refusal("")


def test_a_hub_that_is_not_reachable_says_to_give_a_local_file_and_soon(no_hub):
    begin = time.perf_counter()
    message = refusal("owner/reviews")
    assert "not reachable" in message
    assert "give a local file or folder" in message
    assert time.perf_counter() - begin < 3


def test_a_name_server_that_hangs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("loracle.data.sources._HUB_SECONDS", 0.1)
    monkeypatch.setattr("loracle.data.sources._answers", lambda endpoint: time.sleep(5) is None)
    begin = time.perf_counter()
    assert "not reachable" in refusal("owner/reviews")
    assert time.perf_counter() - begin < 3


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.jsonl", "reviews.parquet"])
def test_an_empty_file_is_refused(write, name):
    assert f"{name} is empty" in refusal(write("", name))


def test_a_packed_empty_file_is_refused(write):
    assert "reviews.csv.gz is empty" in refusal(write(gzip.compress(b""), "reviews.csv.gz"))


def test_a_file_of_blank_lines_is_refused(write):
    assert "is empty" in refusal(write("\n\n \n"))


def test_a_header_without_rows_is_refused(write, tmp_path):
    assert "no rows" in refusal(write("text,label\n"))
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}), tmp_path / "n.parquet"
    )
    assert "no rows" in refusal(tmp_path / "n.parquet")


def test_a_format_that_is_not_read_names_those_that_are(write):
    assert ".csv, .tsv, .jsonl" in refusal(write("text", "reviews.xlsx"))
    assert ".csv, .tsv, .jsonl" in refusal(write("text", "reviews.txt"))


def test_a_column_that_does_not_exist_is_refused_with_those_that_do(good):
    message = refusal(good, text_column="txt")
    assert "did you mean 'text'?" in message
    assert "'text', 'label'" in message


def test_a_table_without_a_second_column_is_refused(write):
    assert "no column besides 'text'" in refusal(write("text\na\nb\n"))


def test_a_cache_that_cannot_be_written_is_told(good, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", "/proc/nowhere")
    assert "set HF_DATASETS_CACHE" in refusal(good)


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit to set")
def test_a_full_disk_is_told(write_csv, reviews):
    import resource

    path, before = write_csv(reviews(2000)), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        assert "cannot write the cache" in refusal(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_test_file_without_the_columns_of_train_is_refused(good, write_csv):
    exam = write_csv([("a", "bad")], "exam.csv", ("text", "kind"))
    assert "exam.csv has no column 'label'" in refusal(good, test=exam)


def test_a_missing_test_file_is_refused(good, tmp_path):
    assert "no such file" in refusal(good, test=tmp_path / "exam.csv")


def test_a_test_file_with_unknown_labels_is_refused_with_their_names(good, write_csv):
    message = refusal(good, test=write_csv([("a", "ugly"), ("b", "good")], "exam.csv"))
    assert "exam.csv" in message
    assert "'ugly'" in message
    assert "'bad', 'good'" in message


def test_strict_refuses_rows_without_text_or_label_and_names_them(write):
    path = write('text,label\na,x\n,x\nb,\n"  ",y\nc,y\n')
    assert "2, 3, 4" in refusal(path, strict=True)


def test_no_usable_row_is_refused(write):
    assert "no row of reviews.csv has both" in refusal(write("text,label\na,\n,b\n"))


def test_one_label_only_is_refused(write_csv, reviews):
    assert "only one label, 'good'" in refusal(write_csv(reviews(20, ("good",))))


def test_a_label_with_too_few_texts_is_named_with_how_many_are_needed(write_csv, reviews):
    message = refusal(write_csv([*reviews(20), ("a", "odd"), ("a ", "odd"), ("b", "odd")]))
    assert "need 3 each" in message
    assert "'odd' (2)" in message


def test_labels_that_are_fractions_look_like_regression(write):
    rows = "".join(f"text {row},{row / 8}\n" for row in range(40))
    assert "regression" in refusal(write("text,label\n" + rows))


def test_a_label_column_of_names_is_no_label_column(write):
    rows = "".join(f"text {row},name {row}\n" for row in range(40))
    assert "40 different values in 40 rows" in refusal(write("text,label\n" + rows))


def test_label_that_is_a_list_among_others_that_are_none_is_refused(write, tmp_path):
    rows = [{"text": f"text {row}", "label": "b" if row else ["a", "b"]} for row in range(9)]
    assert "list" in refusal(write("\n".join(map(json.dumps, rows)), "reviews.jsonl"))
    pq.write_table(
        pa.Table.from_pylist([{**row, "label": {"name": "a"}} for row in rows]), tmp_path / "reviews.parquet"
    )
    assert "one label a row" in refusal(tmp_path / "reviews.parquet")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_many_whole_numbers_with_a_point_look_like_regression(tmp_path, kind):
    prices = [float(row * 37 % 1001) for row in range(2000)]  # each of 1001 prices twice
    table = pa.table({"text": [f"text {row}" for row in range(2000)], "price": prices})
    path = tmp_path / f"prices.{kind}"
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, table.to_pylist())))
    else:
        table.to_pandas().to_csv(path, index=False)
    message = refusal(path, text_column="text", label_column="price")
    assert "'price' holds 1,001 different numbers from 0 to 1000" in message
    assert "regression" in message


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_few_whole_numbers_with_a_point_are_classes(tmp_path, kind):
    table = pa.table({"text": [f"text {row}" for row in range(60)], "label": [float(row % 5) for row in range(60)]})
    path = tmp_path / f"stars.{kind}"
    pq.write_table(table, path) if kind == "parquet" else table.to_pandas().to_csv(path, index=False)
    assert load_task(path).label_names == ("0", "1", "2", "3", "4")


def test_a_text_column_of_numbers_is_refused(tmp_path):
    pq.write_table(pa.table({"text": [1, 2], "label": ["a", "b"]}), tmp_path / "reviews.parquet")
    assert "holds int64, not text" in refusal(tmp_path / "reviews.parquet")


def test_not_utf8_offers_encodings_and_a_command(write):
    message = refusal(write("text,label\ncafé,good\n".encode("cp1252")))
    assert "cp1252" in message
    assert "iconv -f cp1252 -t utf-8" in message
    assert "utf-16" in refusal(write("text,label\na,good\n".encode("utf-16")))


def test_a_broken_parquet_is_refused(write, tmp_path):
    pq.write_table(pa.table({"text": ["a" * 999], "label": ["b"]}), tmp_path / "reviews.parquet")
    whole = (tmp_path / "reviews.parquet").read_bytes()
    for content in (b"PAR1 nonsense", whole[: len(whole) // 2], whole[:50] + b"\0" * 60 + whole[110:]):
        assert "reviews.parquet is not a whole Parquet file" in refusal(write(content, "reviews.parquet"))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_cut_off_packed_file_is_refused(write, good, suffix):
    if suffix == "gz":
        packed = gzip.compress(good.read_bytes())
    else:
        packed = pa.compress(good.read_bytes(), codec="zstd", asbytes=True)
    assert "is not a whole" in refusal(write(packed[: len(packed) // 2], f"reviews.csv.{suffix}"))


def test_ragged_rows_are_refused_with_their_number(write):
    assert "row 2 of reviews.csv has 3 cells where the header has 2" in refusal(write("text,label\na,x\nb,c,y\n"))
    assert "row 1 of reviews.csv has 1 cells" in refusal(write("text,label\na\nb,y\n"))


def test_a_quote_that_is_never_closed_is_refused_with_its_line(write):
    assert "begins on line 3 has a quote that is never closed" in refusal(write('text,label\na,x\n"b,y\nc,x\n'))


def test_two_columns_of_one_name_are_refused(write):
    assert "two columns named 'text'" in refusal(write("text,text,label\na,b,c\n"))


def test_a_malformed_json_line_is_refused_with_its_number(write):
    lines = '{"text": "a", "label": "x"}\n\n{"text": "b", "label": \n'
    assert "line 3 of reviews.jsonl is not valid JSON" in refusal(write(lines, "reviews.jsonl"))
    assert "line 1 of reviews.jsonl is no JSON object" in refusal(write('["a", "x"]\n', "reviews.jsonl"))
    assert "not valid JSON" in refusal(write("[" * 200_000, "reviews.jsonl"))


def test_half_a_character_in_json_is_refused_with_its_row(write):
    lines = '{"text": "a", "label": "x"}\n{"text": "\\ud83d", "label": "x"}\n'
    assert "row 2 of reviews.jsonl" in refusal(write(lines, "reviews.jsonl"))


def test_binary_bytes_in_a_text_are_refused_with_their_row(write, tmp_path):
    assert "row 2 of reviews.csv holds binary bytes" in refusal(write("text,label\na,x\nb\0c,y\n"))
    assert "in 'label'" in refusal(write("text,label\na,x\nb,y\0\n"))
    table = pa.table({"text": pa.array([b"a", b"\xff\xfe"], pa.binary()), "label": ["x", "y"]})
    pq.write_table(table, tmp_path / "reviews.parquet")
    assert "row 2 of reviews.parquet holds binary bytes" in refusal(tmp_path / "reviews.parquet")


def test_a_folder_that_holds_no_table_is_refused(tmp_path, write):
    (tmp_path / "void").mkdir()
    assert "cannot be read" in refusal(tmp_path / "void")
    write("hello", "notes/README.md")
    assert "cannot be read" in refusal(tmp_path / "notes")


def test_a_broken_file_in_a_folder_is_named(write, tmp_path):
    write("text,label\na,x\nb\n", "shop/train.csv")
    assert "row 2 of shop/train" in refusal(tmp_path / "shop") or "row 2 of train.csv" in refusal(tmp_path / "shop")


def test_splits_without_train_are_refused(write, tmp_path):
    write("text,label\na,x\n", "shop/validation.csv")
    write("text,label\na,x\n", "shop/test.csv")
    assert "no 'train'" in refusal(tmp_path / "shop")


def test_embedded_data_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("loracle.data.sources.SAMPLE", tmp_path)
    assert "embedded data" in refusal(None)
