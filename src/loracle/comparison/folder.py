"""A run's folder: what lies where, and whether a run may be continued in it.

run.toml                               the resolved configuration
ledger.json                            data, versions, machine, budget, seeds
results/<method>.<seed>.json           one finished run
predictions/<method>.<seed>.parquet    id, label, predicted (lists of several a text), one probability column a class
models/<method>/                       the classifier of the seed that is best on validation
comparison.json  report.html  report.md
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.comparison.result import Result, parse_result
from loracle.errors import RunError
from loracle.evaluation.metrics import predicted_labels
from loracle.files import check_writable, load_json, save_json, write_bytes, write_text

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from loracle.data.task import Task

EXTENDABLE = (
    *("methods", "seeds", "margin", "cost_texts", "together"),
    *("llm_budget", "llm_concurrency", "llm_timeout", "llm_cache", "llm_prices"),
)
"""Keys that a continued run may change, since they do not touch what is finished; methods and seeds may only grow."""
HASHED = ("data", "test", "merge")
"""Keys that name a file: what was in it is what must be the same, so the hashes of the splits are compared."""


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    path: Path

    def open(self, configuration: Mapping[str, Any], splits: Mapping[str, str]) -> None:
        """Claim the folder for a configuration; raises what `check` raises."""
        self.check(configuration, splits)
        write_text(self.path / "run.toml", render_toml(configuration))

    def check(self, configuration: Mapping[str, Any], splits: Mapping[str, str]) -> None:
        """Refuse a folder that is neither new nor empty nor one of the same run; nothing is written.

        Raises RunError, naming the keys that differ, where another configuration or other data was run here, and
        FileError where the folder cannot be written.
        """
        check_writable(self.path)
        stored = self._stored_configuration()
        if stored is not None:
            self._check_same(stored, {key: value for key, value in configuration.items() if value is not None})
            self._check_splits(splits)

    def save_ledger(self, ledger: Mapping[str, Any]) -> None:
        """Write ledger.json."""
        save_json(self.path / "ledger.json", ledger)

    def save_result(self, result: Result) -> None:
        """Write results/<method>.<seed>.json."""
        save_json(self._result_path(result.method, result.seed), asdict(result))

    def load_result(self, method: str, seed: int) -> Result | None:
        """Return the stored result of a finished run; None where there is none, it failed, or it has no rank.

        Raises RunError or FileError where the file is broken.
        """
        path = self._result_path(method, seed)
        if not path.is_file():
            return None
        try:
            result = parse_result(load_json(path))
        except (KeyError, TypeError) as error:
            raise RunError(f"{path} is no result of this version of Loracle; delete it to run it again") from error
        lost = result.failed or result.unranked or not self._prediction_path(method, seed).is_file()
        return None if lost else result

    def load_results(self, method: str) -> list[Result]:
        """Return the results of all finished seeds of a method."""
        paths = (self.path / "results").glob(f"{method}.*.json")
        seeds = sorted(int(path.suffixes[-2].removeprefix(".")) for path in paths)
        return [result for seed in seeds if (result := self.load_result(method, seed)) is not None]

    def save_predictions(
        self,
        method: str,
        seed: int,
        task: Task,
        probabilities: np.ndarray,
        thresholds: Sequence[float] | None = None,
        outcomes: Sequence[str] | None = None,
    ) -> None:
        """Write predictions/<method>.<seed>.parquet, one row a test text; `outcomes` is what became of each.

        Where a text may have several labels `thresholds` are those that decide.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = task.label_names
        columns: dict[str, Any] = {
            "id": task.test.ids,
            "label": _named(task.test.labels, names),
            "predicted": _named(predicted_labels(probabilities, thresholds), names),
        }
        columns |= {f"p_{name}": probabilities[:, index] for index, name in enumerate(names)}
        if outcomes is not None:
            columns["outcome"] = outcomes
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        write_bytes(self._prediction_path(method, seed), buffer.getvalue())

    def load_predictions(self, method: str, seed: int) -> np.ndarray:
        """Return the probabilities of a finished run, float32 (test texts, classes); RunError where they are broken."""
        import numpy as np

        with self._predictions(method, seed) as table:
            shares = [name for name in table.column_names if name.startswith("p_")]
            return np.column_stack([table.column(name).to_numpy() for name in shares])

    def load_labels(self, method: str, seed: int, label_names: Sequence[str]) -> np.ndarray:
        """Return the test labels beside a run's predictions, int64 (test texts,); RunError where they are broken."""
        import numpy as np

        places = {name: index for index, name in enumerate(label_names)}
        with self._predictions(method, seed) as table:
            return np.array([places[name] for name in table.column("label").to_pylist()], dtype=np.int64)

    def model_path(self, method: str) -> Path:
        """Return models/<method>."""
        return self.path / "models" / method

    def _result_path(self, method: str, seed: int) -> Path:
        return self.path / "results" / f"{method}.{seed}.json"

    def _prediction_path(self, method: str, seed: int) -> Path:
        return self.path / "predictions" / f"{method}.{seed}.parquet"

    @contextmanager
    def _predictions(self, method: str, seed: int) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._prediction_path(method, seed)
        try:
            yield pq.read_table(path)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise RunError(f"{path} cannot be read; delete it, and `loracle compare` makes it again") from error

    def _stored_configuration(self) -> dict[str, Any] | None:
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; --out takes a folder")
        if not self.path.exists() or not any(self.path.iterdir()):
            return None
        stored = self.path / "run.toml"
        if not stored.is_file():
            raise RunError(f"{self.path} exists and is no run of Loracle; give another folder with --out")
        try:
            return tomllib.loads(stored.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{stored} cannot be read ({error}); give another folder with --out") from error

    def _check_same(self, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        keys = sorted({*stored, *given} - {*EXTENDABLE, *HASHED})
        if given["seeds"] < stored.get("seeds", 0):  # the kept models may be those of the seeds left out
            keys = ["seeds", *keys]
        if not set(given["methods"]) >= set(stored.get("methods", ())):  # or the verdict that of a method left out
            keys = ["methods", *keys]
        differing = [
            f"{key} {stored.get(key)!r} -> {given.get(key)!r}" for key in keys if stored.get(key) != given.get(key)
        ]
        if differing:
            raise RunError(
                f"{self.path} holds a run with another configuration ({', '.join(differing)}); "
                "give the same options to continue it, or another folder with --out"
            )

    def _check_splits(self, splits: Mapping[str, str]) -> None:
        path = self.path / "ledger.json"
        ledger = load_json(path) if path.is_file() else {"splits": splits}
        stored = ledger.get("splits") if isinstance(ledger, dict) else None
        if not isinstance(stored, dict):
            raise RunError(f"{path} is no ledger of Loracle; give another folder with --out")
        if stored != dict(splits):
            changed = ", ".join(name for name in splits if splits[name] != stored.get(name))
            raise RunError(
                f"the data is not that of the run in {self.path} (other texts or labels in: {changed}); "
                "give another folder with --out"
            )


def _named(labels: np.ndarray, names: Sequence[str]) -> list[str | None] | list[list[str]]:
    """Return labels as names, None for no answer, or where a text may have several as lists of names."""
    if labels.ndim == 2:
        return [[names[index] for index in row.nonzero()[0]] for row in labels]
    return [names[index] if index >= 0 else None for index in labels]


def render_toml(configuration: Mapping[str, Any]) -> str:
    """Return the configuration as TOML; None is left out, since TOML has no word for it."""
    import tomli_w

    return tomli_w.dumps(
        {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in configuration.items()
            if value is not None
        }
    )
