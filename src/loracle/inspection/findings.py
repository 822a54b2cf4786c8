"""What to do about the data, in plain words, the gravest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from loracle.inspection.description import ClassCount, Copies, Cut, Description, NearCopies, Oddity, Overlap
from loracle.wording import write_count

_MANY = 0.05  # a share of texts that is worth a change
_FEW = 0.01
_RARE = 0.005
_IMBALANCED = 5.0  # times
_SHIFTED = 0.05
_FEW_TEST_TEXTS = 30
_LABEL_LETTERS = 60

_Finding = tuple[bool, str]  # whether it concerns many texts, and what to do


def list_findings(parts: dict[str, Any], model_limit: int) -> tuple[str, ...]:
    """Return a sentence or two for each thing to do; none where nothing stands out.

    What concerns a percent of the texts or more comes first. `parts` are the other fields of a Description,
    `model_limit` the most tokens that its base model reads.
    """
    found = Description(**parts, findings=())
    all_of_them = [
        *_about_copies(found.copies, found.sizes),
        *_about_near(found.near, found.sizes),
        *_about_classes(found.classes),
        *_about_cuts(found.cuts, found.max_length, model_limit),
        *_about_oddities(found.oddities, found.texts),
    ]
    return tuple(text for _, text in sorted(all_of_them, key=lambda finding: not finding[0]))


def measure_imbalance(classes: Sequence[ClassCount]) -> tuple[float, ClassCount, ClassCount]:
    """Return how many times the training texts of the smallest class the largest has, and the two."""
    ranked = sorted(classes, key=lambda entry: entry.texts["train"])
    smallest, largest = ranked[0], ranked[-1]
    return largest.texts["train"] / max(1, smallest.texts["train"]), largest, smallest


def write_share(value: float) -> str:
    """Return a share in percent as it stands in a sentence.

    >>> [write_share(x) for x in (0.4581, 0.012, 0.0002, 0.0)]
    ['46 %', '1.2 %', 'below 0.1 %', '0 %']
    """
    percent = 100 * value
    if percent >= 9.95 or not percent:
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 0.05 else "below 0.1 %"


def write_label(label: str) -> str:
    """Return a label as it stands in a sentence: quoted, on one line, no longer than 60 characters.

    >>> write_label("late\\nparcels")
    "'late parcels'"
    """
    line = " ".join(label.split())
    return repr(line if len(line) <= _LABEL_LETTERS else f"{line[: _LABEL_LETTERS - 1].rstrip()}…")


def write_overlaps(overlaps: Sequence[Overlap], sizes: dict[str, int]) -> str:
    """Return how many texts of which split have a partner in which other.

    >>> write_overlaps([Overlap(split="test", other="train", texts=3)], {"test": 30})
    '3 of test in train (10 % of test)'
    """
    return ", ".join(
        f"{overlap.texts:,} of {overlap.split} in {overlap.other} "
        f"({write_share(overlap.texts / sizes[overlap.split])} of {overlap.split})"
        for overlap in overlaps
    )


def _about_copies(copies: Copies, sizes: dict[str, int]) -> Iterator[_Finding]:
    texts = sum(sizes.values())
    if copies.conflicting:
        stand = write_count(copies.conflicting, "text stands", "texts stand")
        advice = f"settle their labels.{_bound(copies.best_accuracy)}"
        yield copies.conflicting >= _FEW * texts, f"{stand} with more than one label, word for word the same: {advice}"
    if copies.overlaps:
        where = write_overlaps(copies.overlaps, sizes)
        advice = "Keep them on one side, or the score tells what was learnt by heart."
        yield _many_overlap(copies.overlaps, sizes), f"Equal texts lie across the splits: {where}. {advice}"
    if copies.repeats >= _MANY * texts:
        share = write_share(copies.repeats / texts)
        yield True, f"{share} of the texts repeat another word for word: they cost training time and teach little."


def _bound(best_accuracy: float) -> str:
    percent = f"{100 * best_accuracy:.2f}"
    return f" The test split allows {percent} % accuracy at most." if best_accuracy < 1 else ""


def _about_near(near: NearCopies, sizes: dict[str, int]) -> Iterator[_Finding]:
    if near.conflicting:
        have = write_count(near.conflicting, "text has", "texts have")
        advice = "look at the pairs and settle their labels; a classifier can hardly tell such texts apart."
        many = near.conflicting >= _FEW * sum(sizes.values())
        yield many, f"{have} a near duplicate with another label: {advice}"
    if near.overlaps:
        many = _many_overlap(near.overlaps, sizes)
        keep = "keep such texts on one side (--group-column, where one tells their source), or the score is too good"
        advice = keep if many else "too few to move a score by a point"
        yield many, f"Near duplicates lie across the splits: {write_overlaps(near.overlaps, sizes)}; {advice}."


def _many_overlap(overlaps: Sequence[Overlap], sizes: dict[str, int]) -> bool:
    return any(overlap.texts >= _FEW * sizes[overlap.split] for overlap in overlaps)


def _about_classes(classes: Sequence[ClassCount]) -> Iterator[_Finding]:
    times, largest, smallest = measure_imbalance(classes)
    if times >= _IMBALANCED:
        both = f"{write_label(largest.label)}, has {times:,.0f} times the training texts of the smallest"
        advice = "accuracy hides the small classes, --metric macro_f1 does not."
        yield True, f"The largest class, {both}, {write_label(smallest.label)}: {advice}"
    rare = [entry for entry in classes if entry.texts["test"] < _FEW_TEST_TEXTS]
    if rare:
        fewest = min(rare, key=lambda entry: entry.texts["test"])
        have = f"{write_count(len(rare), 'class has', 'classes have')} fewer than {_FEW_TEST_TEXTS} test texts"
        example = f"fewest: {write_label(fewest.label)}, {fewest.texts['test']}"
        yield True, f"{have} ({example}): what is measured there is uncertain."
    yield from _about_shift(classes)


def _about_shift(classes: Sequence[ClassCount]) -> Iterator[_Finding]:
    """Say where a class has another share of the test split than of the training split."""
    train, test = (_shares(classes, split) for split in ("train", "test"))
    label = max(train, key=lambda name: round(abs(test[name] - train[name]), 9))  # of two classes, the first
    if abs(test[label] - train[label]) >= _SHIFTED:
        both = f"{write_share(train[label])} of train and {write_share(test[label])} of test"
        advice = "the test score speaks for another mix of classes than the one that is trained on."
        yield True, f"{write_label(label)} is {both}: {advice}"


def _shares(classes: Sequence[ClassCount], split: str) -> dict[str, float]:
    total = max(1, sum(entry.texts[split] for entry in classes))
    return {entry.label: entry.texts[split] / total for entry in classes}


def _about_cuts(cuts: Sequence[Cut], max_length: int, model_limit: int) -> Iterator[_Finding]:
    chosen = next(cut for cut in cuts if cut.max_length == max_length)
    longer = [cut for cut in cuts if max_length < cut.max_length <= model_limit]
    if chosen.share >= _MANY:
        better = next((cut for cut in longer if cut.share < _MANY), longer[-1] if longer else None)
        advice = (
            f"--max-length {better.max_length} cuts {write_share(better.share)}"
            if better
            else "this base model reads no more"
        )
        yield True, f"{write_share(chosen.share)} of the texts are cut at {max_length} tokens: {advice}."
        return
    shorter = next((cut for cut in cuts if cut.max_length < max_length and cut.share < _FEW), None)
    if shorter:
        share = f"{write_share(shorter.share)} of the texts are" if shorter.texts else "no text is"
        advice = f"--max-length {shorter.max_length} loses little and costs less"
        yield False, f"At {shorter.max_length} tokens {share} cut: {advice}."


def _about_oddities(oddities: Sequence[Oddity], texts: int) -> Iterator[_Finding]:
    for oddity in oddities:
        if oddity.texts >= _RARE * texts:
            many = oddity.texts >= _FEW * texts
            name = oddity.name[0].upper() + oddity.name[1:]
            share = write_share(oddity.texts / texts)
            yield many, f"{name} in {write_count(oddity.texts, 'text')} ({share}): {oddity.remedy}."
    few = [f"{oddity.name} ({oddity.texts:,})" for oddity in oddities if oddity.texts < _RARE * texts]
    if few:
        yield False, f"In a few texts each: {', '.join(few)}."
