"""Labelled texts in, a Task with three splits out. Importing this imports nothing heavy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loracle.data.loading import load_task
    from loracle.data.preparing import Preparation
    from loracle.data.reading import read_texts
    from loracle.data.task import Split, Task
    from loracle.data.writing import save_task

__all__ = ["Preparation", "Split", "Task", "load_task", "read_texts", "save_task"]

_HOMES = {
    "Preparation": "preparing",
    "Split": "task",
    "Task": "task",
    "load_task": "loading",
    "read_texts": "reading",
    "save_task": "writing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loracle.data' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(importlib.import_module(f"loracle.data.{_HOMES[name]}"), name)
