"""What is kept is where it should be, never takes more than its share, and is told from what was made anew."""

import os
import time
from pathlib import Path

import pytest

from loracle import caching


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORACLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keep(key: str, *, size: int = 10, used: float = 0) -> Path:
    with caching.keeping("tokens", key) as file:
        file.write(b"x" * size)
    path = caching.place_of("tokens", key)
    os.utime(path, (used, used)) if used else None
    return path


def test_folder_is_named_by_the_variable_else_by_the_user(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caching.cache_folder() == cache
    monkeypatch.setenv("LORACLE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert caching.cache_folder() == Path("/somewhere/loracle")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert caching.cache_folder() == Path.home() / ".cache" / "loracle"


def test_what_is_kept_is_found_by_its_key_alone() -> None:
    path = keep("a")
    assert caching.find("tokens", "a") == path
    assert caching.find("tokens", "b") is None
    assert caching.find("bottoms", "a") is None


def test_interrupted_writing_leaves_nothing(cache: Path) -> None:
    def interrupted() -> None:
        with caching.keeping("tokens", "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_what_was_used_longest_ago_goes_first() -> None:
    now = time.time()
    old, older, new = (keep(key, used=now - age) for key, age in (("old", 50), ("older", 90), ("new", 10)))
    caching.drop_oldest(total_bytes=20)
    assert (old.exists(), older.exists(), new.exists()) == (True, False, True)


def test_finding_a_file_is_using_it() -> None:
    now = time.time()
    first, second = keep("first", used=now - 90), keep("second", used=now - 50)
    caching.find("tokens", "first")
    caching.drop_oldest(total_bytes=10)
    assert (first.exists(), second.exists()) == (True, False)


def test_what_was_just_written_stays_however_large() -> None:
    old, new = keep("old", used=time.time() - 9), keep("new", size=1000)
    caching.drop_oldest(keep=new, total_bytes=100)
    assert (old.exists(), new.exists()) == (False, True)


def test_files_of_others_are_never_deleted(cache: Path) -> None:
    answers = cache / "answers" / "model.jsonl"
    answers.parent.mkdir(parents=True)
    answers.write_text("paid for")
    keep("a")
    caching.drop_oldest(total_bytes=0)
    assert answers.read_text() == "paid for"


def test_file_of_a_killed_process_goes_after_a_day(cache: Path) -> None:
    keep("a")
    abandoned, growing = cache / "tokens" / ".b.1", cache / "tokens" / ".c.2"
    for path, age in ((abandoned, 2 * 24 * 3600), (growing, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    caching.drop_oldest()
    assert (abandoned.exists(), growing.exists()) == (False, True)


def test_found_content_counts_once_and_made_content_never() -> None:
    with caching.noting_spared() as outer:
        caching.note_made("made")
        with caching.noting_spared() as inner:
            caching.note_found("made", 5.0)
            caching.note_found("old", 3.0)
            caching.note_found("old", 3.0)
    caching.note_found("later", 7.0)
    assert outer == {"made": 0.0, "old": 3.0}
    assert inner == {"made": 5.0, "old": 3.0}


def test_a_disk_that_cannot_be_asked_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    assert caching.free_bytes() > 0

    def fail(path: Path) -> None:
        raise OSError

    monkeypatch.setattr(caching.shutil, "disk_usage", fail)
    assert caching.free_bytes() == 0
