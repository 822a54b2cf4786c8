"""Files and folders are there whole or not at all, whatever interrupts the writing."""

import errno
from pathlib import Path

import pytest

from loracle.errors import FileError
from loracle.files import load_json, whole_file, whole_folder, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_interrupted_file_keeps_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old")

    def interrupted() -> None:
        with whole_file(tmp_path / "a.txt") as file:
            file.write(b"ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def save_folder(path: Path, content: str) -> None:
    with whole_folder(path) as temporary:
        (temporary / "weights").write_text(content)


def test_folder_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    save_folder(tmp_path / "model", "old")
    (tmp_path / "model" / "left over").write_text("x")
    save_folder(tmp_path / "model", "new")
    assert names(tmp_path / "model") == ["weights"]
    assert (tmp_path / "model" / "weights").read_text() == "new"
    assert names(tmp_path) == ["model"]


def test_interrupted_folder_keeps_the_old_one(tmp_path: Path) -> None:
    save_folder(tmp_path / "model", "old")

    def interrupted() -> None:
        with whole_folder(tmp_path / "model") as temporary:
            (temporary / "weights").write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_failed_exchange_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_folder(tmp_path / "model", "old")
    replace = Path.replace

    def fail_for_the_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(errno.ENOSPC, "no space left")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_for_the_new)
    with pytest.raises(OSError, match="no space"):
        save_folder(tmp_path / "model", "new")
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_json_without_a_key_is_refused_by_name(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", '{"model": 1}')
    with pytest.raises(FileError, match="lacks max_length"):
        load_json(tmp_path / "a.json", keys=("model", "max_length"))
