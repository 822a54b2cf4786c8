"""Tasks made by hand, so that what must be found in them is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from loracle.data.task import Split, Task

Rows = Sequence[tuple[str, str]]
MakeTask = Callable[..., Task]


@pytest.fixture(scope="session")
def make_task() -> MakeTask:
    """Return a maker of tasks from (text, label) rows of each split, numbered from `first_id`."""
    return _make_task


def _make_task(train: Rows, validation: Rows = (), test: Rows = (), *, first_id: int = 0) -> Task:
    names = tuple(sorted({label for rows in (train, validation, test) for _, label in rows}))
    splits = {
        name: _split(name, rows, names, first_id)
        for name, rows in (("train", train), ("validation", validation), ("test", test))
    }
    told = {"name": "made", "source": "by hand", "text_column": "text", "label_column": "label"}
    return Task(**told, label_names=names, notes=("Made by hand.",), **splits)


def _split(name: str, rows: Rows, names: tuple[str, ...], first_id: int) -> Split:
    import datasets

    columns = {
        "id": list(range(first_id, first_id + len(rows))),
        "text": [text for text, _ in rows],
        "label": [names.index(label) for _, label in rows],
    }
    kinds = {"id": datasets.Value("int64"), "text": datasets.Value("string"), "label": datasets.Value("int64")}
    return Split(name, datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)))
