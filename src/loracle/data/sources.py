"""Where the data lies: the embedded set, a file, a folder, or a Hub name; found, but not yet read."""

from __future__ import annotations

import difflib
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from loracle.data.decoding import COMPRESSIONS, plain_suffix
from loracle.data.reading import BATCH, TABLE_SUFFIXES, read_batches
from loracle.data.writing import COMPANIONS
from loracle.errors import DataError

if TYPE_CHECKING:
    import datasets

SAMPLE = Path(__file__).parent / "sample"
SAMPLE_NAME = "complaints-mini"

_SPLITS = ("train", "validation", "test")
_OTHER_NAMES = {"training": "train", "dev": "validation", "val": "validation", "valid": "validation"}
_HUB_SECONDS = 4.0


@dataclass(frozen=True)
class RawTable:
    """One table as it lies there: files, read one after the other, or a data set of `datasets`."""

    source: str
    files: tuple[Path, ...] = ()
    dataset: datasets.Dataset | None = None

    def batches(self, columns: Sequence[str] | None = None, *, lists: str | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows, all columns or only `columns`; that of the name `lists` may hold lists."""
        for file in self.files:
            yield from read_batches(file, columns, lists=lists)
        if self.dataset is not None:
            rows = self.dataset if columns is None else self.dataset.select_columns(list(columns))
            for table in rows.with_format("arrow").iter(BATCH):
                yield from table.combine_chunks().to_batches()

    def head(self) -> pa.RecordBatch:
        """Return the first rows, all columns; raises DataError where there are none."""
        batches = self.batches()
        first = next((batch for batch in batches if batch.num_rows), None)
        if first is None:
            raise DataError(f"{self.source} has no rows below its column names; it needs a text and a label on each")
        return first


@dataclass(frozen=True)
class Source:
    """What a name given by the user stands for: tables by split name, always with a `train`."""

    name: str
    given: str
    tables: Mapping[str, RawTable]
    notes: tuple[str, ...] = ()


def find_source(data: str | Path | None) -> Source:
    """Find what `data` names; None is the embedded set. Raises DataError where it names nothing."""
    if data is None:
        tables = {name: RawTable(f"{SAMPLE_NAME}/{name}", (_sample_file(name),)) for name in _SPLITS}
        return Source(SAMPLE_NAME, SAMPLE_NAME, tables)
    if not str(data).strip():
        raise DataError("the name of the data is empty; give a file, a folder, or a Hub name such as owner/name")
    path = Path(data).expanduser()
    if path.is_file():
        return Source(_stem(path), str(data), {"train": find_table(path)})
    if (path / "run.toml").is_file():
        raise DataError(f"{data} is a run of Loracle, not data; name a file, a folder of tables, or a Hub name")
    if path.is_dir():
        tables = _folder_tables(path.resolve())
        source = _with_split_names(path.resolve().name, str(data), tables)
        return replace(source, notes=source.notes + _describe_unused(path.resolve(), tables))
    if path.exists():
        raise DataError(f"{data} is neither a file nor a folder; give one that can be read twice")
    if _looks_like_path(str(data)):
        raise DataError(_no_such(path))
    return _with_split_names(str(data), str(data), _hub_tables(str(data)))


def find_table(path: Path) -> RawTable:
    """Return the table in one file; raises DataError where there is no such file."""
    if path.is_file():
        return RawTable(path.name, (path,))
    if path.is_dir():
        raise DataError(f"{path} is a folder; one file is needed here")
    raise DataError(_no_such(path))


def _sample_file(name: str) -> Path:
    file = SAMPLE / f"{name}.csv"
    if not file.is_file():
        raise DataError(f"this installation lacks the embedded data ({file}); install loracle again or give a file")
    return file


def _stem(path: Path) -> str:
    return Path(path.stem).stem if path.suffix.lower() in COMPRESSIONS else path.stem


def _looks_like_path(data: str) -> bool:
    path = Path(data)
    known = plain_suffix(path) in (*TABLE_SUFFIXES, ".txt") or path.suffix.lower() in COMPRESSIONS
    begins = data.startswith((".", "~", "/")) or data.endswith("/")
    return known or begins or data.count("/") != 1 or "\\" in data or path.parent.is_dir()


def _no_such(path: Path) -> str:
    if not path.parent.is_dir():
        return f"no such file or folder: {path} (nor is there a folder {path.parent})"
    close = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
    return f"no such file or folder: {path}{hint or '; give a file, a folder, or a Hub name such as owner/name'}"


def _with_split_names(name: str, given: str, found: Mapping[str, RawTable]) -> Source:
    tables = {_OTHER_NAMES.get(split.lower(), split.lower()): table for split, table in found.items()}
    if len(tables) == 1:
        split, table = next(iter(tables.items()))
        notes = () if split == "train" else (f"The only split, {split!r}, was taken as the whole data.",)
        return Source(name, given, {"train": table}, notes)
    if "train" not in tables:
        raise DataError(f"{given} has the splits {', '.join(sorted(found))} but no 'train'; give one file instead")
    extra = sorted(set(tables) - set(_SPLITS))
    notes = (f"Splits not used: {', '.join(extra)}.",) if extra else ()
    return Source(name, given, {split: tables[split] for split in _SPLITS if split in tables}, notes)


def _folder_tables(folder: Path) -> dict[str, RawTable]:
    import datasets

    with quiet_datasets():
        try:
            if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
                return _dataset_tables(folder.name, datasets.load_from_disk(str(folder)))
            builder = datasets.load_dataset_builder(str(folder))
            files = {str(split): _table_files(paths) for split, paths in (builder.config.data_files or {}).items()}
            if files and all(files.values()):
                return {split: RawTable(f"{folder.name}/{split}", paths) for split, paths in files.items()}
            return _dataset_tables(folder.name, datasets.load_dataset(str(folder)))
        except Exception as error:
            raise DataError(
                f"the folder {folder} cannot be read ({_first_line(error)}); "
                "put train.csv and test.csv (or Parquet, JSON lines) into it, or give one file"
            ) from error


def _describe_unused(folder: Path, tables: Mapping[str, RawTable]) -> tuple[str, ...]:
    """Return a note on tables that lie in the folder itself and were not taken for a split."""
    used = {file.resolve() for table in tables.values() for file in table.files}
    loose = sorted(
        file.name
        for file in folder.iterdir()
        if plain_suffix(file) in TABLE_SUFFIXES and file.name not in COMPANIONS and file.resolve() not in used
    )
    if not used or not loose:
        return ()
    taken = sorted(str(file.relative_to(folder)) for file in used)
    return (f"Read {', '.join(taken)}; not used: {', '.join(loose)}.",)


def _table_files(paths: Sequence[str]) -> tuple[Path, ...]:
    """Return the files if all are tables that are read here, else none."""
    files = tuple(Path(path) for path in paths)
    return files if all(file.is_file() and plain_suffix(file) in TABLE_SUFFIXES for file in files) else ()


def _dataset_tables(name: str, loaded: datasets.DatasetDict | datasets.Dataset) -> dict[str, RawTable]:
    found = loaded if isinstance(loaded, dict) else {"train": loaded}
    return {str(split): RawTable(f"{name}/{split}", dataset=dataset) for split, dataset in found.items()}


def _hub_tables(name: str) -> dict[str, RawTable]:
    import datasets

    reachable = _hub_answers(datasets.config.HF_ENDPOINT)
    with quiet_datasets(), _offline(not reachable):
        try:
            return _dataset_tables(name, datasets.load_dataset(name))
        except Exception as error:
            if reachable:
                raise DataError(f"the Hub has no data set {name!r} that can be read ({_first_line(error)})") from error
            raise DataError(
                f"{name!r} is no file or folder here, and the Hub ({datasets.config.HF_ENDPOINT}) is not reachable; "
                "give a local file or folder"
            ) from error


def _hub_answers(endpoint: str) -> bool:
    """Return whether the Hub answers within seconds, a name server that hangs included."""
    import datasets

    if datasets.config.HF_HUB_OFFLINE:
        return False
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(_answers(endpoint)), daemon=True)
    asking.start()
    asking.join(_HUB_SECONDS)
    return answers == [True]


def _answers(endpoint: str) -> bool:
    request = urllib.request.Request(endpoint, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_HUB_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (OSError, ValueError):
        return False


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Let `datasets` look into its cache only, without its 20 seconds of retries."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def quiet_datasets() -> Iterator[None]:
    """Silence the progress bars and the logs of `datasets` and of the Hub's client within the block."""
    import datasets

    hub = logging.getLogger("huggingface_hub")
    bars, level, hub_level = not datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity(), hub.level
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            datasets.enable_progress_bars()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
