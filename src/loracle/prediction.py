"""Label a stream of texts with a saved classifier, in bounded memory."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from loracle.errors import ConfigError
from loracle.files import whole_file

if TYPE_CHECKING:
    from loracle.methods.method import Classifier


def write_predictions(
    classifier: Classifier, batches: Iterable[Sequence[str]], *, out: Path | None = None, jsonl: bool = False
) -> int:
    """Write text, label and one probability a class for each text; return how many there were.

    `out` is written whole or not at all; None is standard output. Where the first batch cannot be read nothing is
    written.
    """
    batches = iter(batches)
    read = list(itertools.islice(batches, 1))
    columns = ["text", "label", *(f"p_{name}" for name in classifier.label_names)]
    written = 0
    with _opened(out) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if not jsonl:
            writer.writeheader()
        for batch in itertools.chain(read, batches):
            for row in _rows(classifier, batch, columns):
                if jsonl:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                else:
                    writer.writerow(row)
                written += 1
    return written


def _rows(classifier: Classifier, texts: Sequence[str], columns: Sequence[str]) -> Iterator[Mapping[str, object]]:
    for text, probabilities in zip(texts, classifier.predict_proba(texts), strict=True):
        label = classifier.label_names[int(probabilities.argmax())]
        shares = [round(float(value), 6) for value in probabilities]
        yield dict(zip(columns, [text, label, *shares], strict=True))


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        if sys.stdout is None:
            raise ConfigError("standard output is closed; name a file with --out")
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # whatever the locale, as in a file
        yield sys.stdout
        sys.stdout.flush()
        return
    with whole_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.detach()  # flushes, and leaves the file open
