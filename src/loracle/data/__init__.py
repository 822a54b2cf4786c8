"""Labelled texts in, a Task with three splits out."""

from loracle.data.loading import load_task
from loracle.data.reading import read_texts
from loracle.data.task import Split, Task

__all__ = ["Split", "Task", "load_task", "read_texts"]
