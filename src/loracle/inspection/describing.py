"""From a Task to its Description: one pass over the texts, then what the counts say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loracle.errors import DataError
from loracle.inspection.characters import list_oddities
from loracle.inspection.copies import group_copies, summarise_copies
from loracle.inspection.corpus import Corpus
from loracle.inspection.description import ClassCount, Description
from loracle.inspection.findings import list_findings
from loracle.inspection.lengths import list_cuts, median_by, summarise_lengths
from loracle.inspection.measuring import Measures, OnProgress, measure_texts
from loracle.inspection.near import check_threshold, find_near, summarise_near
from loracle.models.loading import check_max_length, load_tokenizer
from loracle.training.budget import Budget

if TYPE_CHECKING:
    from loracle.data.task import Task


def describe(
    task: Task, *, model: str, max_length: int, near_threshold: float, on_progress: OnProgress | None = None
) -> Description:
    """Read all texts of a task once and return what was found.

    Raises ConfigError for a length or a threshold that cannot be, and ModelError where the base model's tokenizer
    cannot be loaded; both before any text is read.
    """
    check_options(max_length=max_length, near_threshold=near_threshold)
    if task.multi_label:
        raise DataError(
            f"a text of {task.source} may have several labels, and describe reads data with one label a text; "
            "preparation.json of `loracle prepare` tells how many texts have each label"
        )
    tokenizer = load_tokenizer(model)
    check_max_length(tokenizer, None, max_length)
    report = on_progress or _be_silent
    corpus = Corpus(task)
    measures = measure_texts(corpus, tokenizer, report)
    groups = group_copies(corpus, measures.keys)
    near = find_near(corpus, measures, groups, near_threshold, report)
    parts: dict[str, Any] = {
        "task": task.describe(),
        "model": model,
        "max_length": max_length,
        "near_threshold": near_threshold,
        "classes": _count_classes(corpus, measures),
        "words": summarise_lengths(measures.words, "words"),
        "tokens": summarise_lengths(measures.tokens, "tokens"),
        "cuts": list_cuts(measures.tokens, max_length),
        "copies": summarise_copies(groups),
        "near": summarise_near(near),
        "oddities": list_oddities(corpus, measures),
    }
    return Description(**parts, findings=list_findings(parts, tokenizer.model_max_length))


def check_options(*, max_length: int, near_threshold: float) -> None:
    """Raise ConfigError for a length or a threshold that cannot be, whatever the data and the base model are."""
    Budget(max_length=max_length)
    check_threshold(near_threshold)


def _count_classes(corpus: Corpus, measures: Measures) -> tuple[ClassCount, ...]:
    number = len(corpus.label_names)
    counts = {split.name: np.bincount(split.labels, minlength=number) for split in corpus.splits}
    words, tokens = (median_by(corpus.labels, lengths, number) for lengths in (measures.words, measures.tokens))
    return tuple(
        ClassCount(
            label=label,
            texts={split: int(texts[code]) for split, texts in counts.items()},
            median_words=words[code],
            median_tokens=tokens[code],
        )
        for code, label in enumerate(corpus.label_names)
    )


def _be_silent(_stage: str, _done: int, _total: int) -> None:
    pass
