import pytest

from loracle.data.decoding import open_text
from loracle.errors import DataError


def refusal(path) -> str:
    with pytest.raises(DataError) as raised, open_text(path) as lines:
        list(lines)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.fixture
def write(tmp_path):
    def write(content: bytes, name: str = "reviews.csv"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_a_byte_order_mark_is_no_part_of_the_text(write):
    with open_text(write("text,label\n".encode("utf-8-sig"))) as lines:
        assert next(lines) == "text,label\n"


def test_western_bytes_are_told_with_line_encodings_and_command(write):
    message = refusal(write("text,label\nfine,a\ncafé “bon”,b\n".encode("cp1252")))
    assert "not UTF-8 (line 3)" in message
    assert "cp1252" in message
    assert "latin1" not in message, "latin1 would turn the quotes into control characters"
    assert "iconv -f cp1252 -t utf-8 reviews.csv > reviews.utf8.csv" in message


def test_every_encoding_that_reads_well_is_offered(write):
    assert "cp1252 or latin1" in refusal(write("text,label\ncafé,a\n".encode("latin-1")))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16le", "utf-16be", "utf-32"])
def test_wide_encodings_are_recognised(write, encoding):
    message = refusal(write("text,label\nfine,a\n".encode(encoding)))
    assert f"iconv -f {encoding} " in message


def test_far_eastern_bytes_are_offered_their_encodings(write):
    assert "gb18030" in refusal(write("text,label\n这家店非常好,好评\n".encode("gb18030")))


def test_bytes_that_are_no_text_at_all_are_called_binary(write):
    assert "looks binary" in refusal(write(b"text,label\n\x81\x01\x02\xff\xfe,a\n"))


@pytest.mark.parametrize(
    ("begins", "what"), [(b"PK\x03\x04", "Excel"), (b"\x1f\x8b\x08", "gzip"), (b"PAR1", "Parquet")]
)
def test_a_file_with_the_wrong_suffix_is_told_what_it_is(write, begins, what):
    assert what in refusal(write(begins + b"....."))


def test_an_empty_file_is_refused(write):
    assert "reviews.csv is empty" in refusal(write(b""))


@pytest.mark.parametrize("name", ["reviews.csv.gz", "reviews.csv.zst"])
def test_what_only_claims_to_be_packed_is_refused(write, name):
    assert "is not a whole" in refusal(write(b"text,label\n", name))
