"""Answers are kept as they come, by several writers, through crashes, and read back by their keys alone."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from loracle.errors import FileError
from loracle.prompting.cache import Cache, default_folder, hash_parts

IMPORTS = """
from pathlib import Path
from loracle.prompting.cache import Cache, hash_parts
"""


def cache_in(folder: Path) -> Cache:
    return Cache(folder, base_url="http://h/v1", model="org/Model:7b")


def keys(count: int) -> list[str]:
    return [hash_parts(number) for number in range(count)]


def write_many(folder: Path, first: int) -> None:
    with cache_in(folder) as cache:
        for number in range(first, first + 300):
            cache.add(hash_parts(number), {"number": number, "said": "x" * 3000})


def test_what_is_added_is_found_again_by_its_key(tmp_path: Path) -> None:
    with cache_in(tmp_path / "new" / "folder") as cache:
        for number, key in enumerate(keys(5)):
            cache.add(key, {"number": number, "said": "é\n😀"})
        found = cache_in(tmp_path / "new" / "folder").load(keys(3))  # another reader, before the file is closed
    assert found == {key: {"number": number, "said": "é\n😀"} for number, key in enumerate(keys(3))}


def test_nothing_is_found_where_there_is_no_file(tmp_path: Path) -> None:
    assert cache_in(tmp_path / "none").load(keys(1)) == {}
    assert not (tmp_path / "none").exists()


def test_torn_last_line_is_passed_over_and_swallows_no_other(tmp_path: Path) -> None:
    first, second, third = keys(3)
    with cache_in(tmp_path) as cache:
        cache.add(first, {"number": 1})
        cache.add(second, {"number": 2})
    content = cache.path.read_bytes()
    for length in range(content.index(second.encode()), len(content)):
        cache.path.write_bytes(content[:length])
        with cache_in(tmp_path) as torn:
            assert torn.load(keys(3)) == {first: {"number": 1}}
            torn.add(third, {"number": 3})
            assert torn.load(keys(3)) == {first: {"number": 1}, third: {"number": 3}}


def test_processes_that_write_at_the_same_time_spoil_nothing(tmp_path: Path) -> None:
    script = inspect.getsource(cache_in) + inspect.getsource(write_many)
    writers = [
        subprocess.Popen([sys.executable, "-c", f"{IMPORTS}{script}write_many(Path({str(tmp_path)!r}), {first})"])
        for first in (0, 300)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = cache_in(tmp_path).load(keys(600))
    assert {record["number"] for record in found.values()} == set(range(600))
    lines = cache_in(tmp_path).path.read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line) for line in lines if line)


def test_only_what_is_asked_for_is_held_in_memory(tmp_path: Path) -> None:
    write_many(tmp_path, 0)
    tracemalloc.start()
    found = cache_in(tmp_path).load(keys(2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(found) == 2
    assert peak < 200_000 < cache_in(tmp_path).path.stat().st_size


def test_each_model_of_each_server_has_a_file_of_its_own(tmp_path: Path) -> None:
    names = {
        Cache(tmp_path, base_url=url, model=model).path.name
        for url in ("http://a/v1", "http://b/v1")
        for model in ("m/1", "m-1")
    }
    assert len(names) == 4
    assert all(name.startswith("m-1-") and name.endswith(".jsonl") for name in names)


def test_folder_is_the_users_cache_unless_another_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "loracle" / "answers"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "loracle" / "answers"


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="give another folder with llm_cache"):
        cache_in(tmp_path / "file").open()
