"""Plausible comparisons of several shapes, drawn from a seeded generator; each is rendered once for all tests."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from loracle.comparison.result import Comparison, Pair, Result, Summary, Verdict
from loracle.evaluation.uncertainty import Interval
from loracle.models.counting import Counts
from loracle.reporting import render_html, render_markdown

NINE = (
    "credit reporting",
    "debt collection",
    "mortgage",
    "credit or prepaid card",
    "checking or savings account",
    "student loan",
    "vehicle loan or lease",
    "money transfer or virtual currency",
    "payday or personal loan",
)
HOSTILE = "<script>alert('x')</script> | *b* $x_1$ \x00 日本語 \u202e & \"q\""
BASE = 22_713_216
# accuracy, adapter, head, trainable, one fit, search, scoring, memory, disk
LADDER: dict[str, tuple[float, int, int, int, float, float, float, int, int]] = {
    "majority": (0.111, 0, 0, 0, 0.0004, 0.0004, 0.0009, 1_200, 312),
    "tfidf": (0.812, 0, 148_203, 148_203, 2.31, 8.4, 0.081, 48_000_000, 2_300_000),
    "probe": (0.834, 0, 3_465, 3_465, 21.2, 24.9, 6.2, 212_000_000, 91_000_000),
    "lora": (0.871, 147_456, 151_305, 298_761, 194.0, 612.0, 6.4, 734_000_000, 1_250_000),
    "full": (0.866, 0, 151_305, BASE + 151_305, 402.0, 1_380.0, 6.3, 1_620_000_000, 91_600_000),
}
LONG = [f"a rather long method name, rank {rank}" for rank in range(7)]
BLANK = Interval(value=math.nan, low=math.nan, high=math.inf)


def comparison(
    methods: Sequence[str] = tuple(LADDER),
    labels: Sequence[str] = NINE,
    *,
    kind: str | None = "cheapest",
    seeds: int = 3,
    failed: Sequence[str] = (),
    tests: int = 720,
    epochs: int = 4,
    name: str = "complaints",
) -> Comparison:
    """Return a plausible comparison; a method beyond the ladder gets figures near those of one on it."""
    random_ = random.Random(7)
    results = tuple(_result(m, s, random_, m in failed, epochs) for m in methods for s in range(seeds))
    finished = [_summary(m, results, labels, random_, tests, seeds) for m in methods if m not in failed]
    finished.sort(key=lambda s: -s.metrics["accuracy"].value)
    lost = [Summary(method=m, seeds=0, error=results[i * seeds].error) for i, m in enumerate(methods) if m in failed]
    return Comparison(
        name=name,
        task=_task(name, labels, tests),
        ledger=_ledger(seeds),
        results=results,
        summaries=(*finished, *lost),
        pairs=_pairs(finished, tests),
        verdict=_verdict(finished, kind, tests) if finished and kind else None,
    )


def _figures_of(method: str, random_: random.Random) -> tuple[float, ...]:
    if method in LADDER:
        return LADDER[method]
    near = LADDER[random_.choice(["tfidf", "probe", "lora", "full"])]
    return (min(0.97, near[0] + random_.uniform(-0.05, 0.04)), *(x * random_.uniform(0.5, 3) for x in near[1:]))


def _result(method: str, seed: int, random_: random.Random, failed: bool, epochs: int) -> Result:
    if failed:
        error = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB <b>(GPU 0)</b> | 1.2 GiB free"
        return Result(method=method, seed=seed, error=error)
    accuracy, adapter, head, trainable, fit, search, scoring, memory, disk = _figures_of(method, random_)
    moved = accuracy + (random_.uniform(-0.008, 0.008) if trainable else 0)
    gradient = method not in ("majority", "tfidf", "probe")
    return Result(
        method=method,
        seed=seed,
        metrics={"accuracy": moved, "macro_f1": moved - 0.01},
        validation_metrics={"accuracy": moved + 0.004},
        counts=Counts(
            adapter=int(adapter),
            head=int(head),
            base=BASE * (method not in ("majority", "tfidf")),
            trainable=int(trainable),
        ),
        learning_rate=3e-4 if gradient else None,
        search=_search(method, moved, gradient) if seed == 0 else (),
        history=_history(moved, epochs, random_) if gradient else (),
        training_seconds=fit,
        search_seconds=search,
        scoring_seconds_per_1000=scoring,
        peak_memory_bytes=int(memory),
        bytes_on_disk=int(disk),
    )


def _search(method: str, accuracy: float, gradient: bool) -> tuple[dict[str, Any], ...]:
    if method == "majority":
        return ()
    if gradient:
        grid: list[tuple[float, float | None, str | None]] = [
            (1e-4, accuracy - 0.03, None),
            (3e-4, accuracy, None),
            (1e-3, None, "loss became NaN at step 41") if method == "full" else (1e-3, accuracy - 0.011, None),
        ]
    else:
        grid = [(0.1, accuracy - 0.06, None), (1.0, accuracy - 0.01, None), (10.0, accuracy, None)]
    name = "learning rate" if gradient else "C"
    best = max(a for _, a, _ in grid if a is not None)
    return tuple({"setting": name, "value": v, "accuracy": a, "error": e, "chosen": a == best} for v, a, e in grid)


def _history(accuracy: float, epochs: int, random_: random.Random) -> tuple[dict[str, float], ...]:
    rows = tuple(
        {
            "epoch": epoch,
            "train_loss": 2.2 * math.exp(-0.75 * epoch) + 0.05 + random_.uniform(0, 0.05),
            "validation_loss": 1.6 * math.exp(-0.6 * epoch) + 0.38 + 0.015 * epoch + random_.uniform(0, 0.04),
            "accuracy": accuracy - 0.4 * math.exp(-0.9 * epoch) + random_.uniform(-0.01, 0.01),
        }
        for epoch in range(1, epochs + 1)
    )
    best = max(rows, key=lambda row: row["accuracy"])
    return tuple({**row, "best": row is best} for row in rows)


def _summary(
    method: str, results: Sequence[Result], labels: Sequence[str], random_: random.Random, tests: int, seeds: int
) -> Summary:
    runs = [result for result in results if result.method == method]
    scores = [run.metrics["accuracy"] for run in runs]
    accuracy = sum(scores) / len(scores)
    confusion = _confusion(accuracy, len(labels), tests, random_)
    first = runs[0]
    return Summary(
        method=method,
        seeds=seeds,
        metrics={
            "accuracy": _interval(accuracy, tests),
            "macro_f1": _interval(accuracy - 0.012, tests),
            "mcc": _interval(accuracy - 0.05, tests),
            "log_loss": Interval(value=1.6 * (1 - accuracy), low=1.5 * (1 - accuracy), high=1.8 * (1 - accuracy)),
            "ece": Interval(value=0.034, low=0.021, high=0.052),
        },
        seed_spread=max(scores) - min(scores),
        counts=first.counts,
        training_seconds=first.training_seconds,
        search_seconds=first.search_seconds,
        scoring_seconds_per_1000=first.scoring_seconds_per_1000,
        peak_memory_bytes=first.peak_memory_bytes,
        bytes_on_disk=first.bytes_on_disk,
        cost_seconds=first.search_seconds + 10 * first.scoring_seconds_per_1000,
        per_class=_per_class(confusion, labels),
        confusion=confusion,
        histories={str(run.seed): run.history for run in runs if run.history},
    )


def _interval(value: float, tests: int) -> Interval:
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / tests)
    return Interval(value=value, low=max(0.0, value - half), high=min(1.0, value + half))


def _confusion(accuracy: float, classes: int, tests: int, random_: random.Random) -> tuple[tuple[int, ...], ...]:
    each = max(4, tests // classes)
    rows = []
    for true in range(classes):
        row = [0] * classes
        for _ in range(each):
            near = (
                true if random_.random() < accuracy - 0.02 * (true % 4) else int(random_.triangular(0, classes, true))
            )
            row[min(near, classes - 1)] += 1
        rows.append(tuple(row))
    return tuple(rows)


def _per_class(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> tuple[dict[str, Any], ...]:
    entries = []
    for position, label in enumerate(labels):
        hit, support = confusion[position][position], sum(confusion[position])
        predicted = sum(row[position] for row in confusion)
        precision, recall = hit / predicted if predicted else 0.0, hit / support
        f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
        entries.append({"label": label, "precision": precision, "recall": recall, "f1": f1, "support": support})
    return tuple(entries)


def _pairs(finished: Sequence[Summary], tests: int) -> tuple[Pair, ...]:
    pairs = []
    for position, first in enumerate(finished):
        for second in finished[position + 1 :]:
            gap = first.metrics["accuracy"].value - second.metrics["accuracy"].value
            half = 1.96 * math.sqrt(0.14 / tests)
            p = math.erfc(abs(gap) / half * 1.96 / math.sqrt(2))
            difference = Interval(value=gap, low=gap - half, high=gap + half)
            pairs.append(
                Pair(first=first.method, second=second.method, difference=difference, p=p, p_holm=min(1, 4 * p))
            )
    return tuple(pairs)


def _verdict(finished: Sequence[Summary], kind: str, tests: int) -> Verdict:
    best = finished[0].method
    other = min(finished[:2], key=lambda summary: summary.cost_seconds).method
    rival = finished[1].method if len(finished) > 1 else best
    sentences = {
        "cheapest": f"Ship {best}: 3.7 points above probe [1.4, 6.0]; full fine-tuning is not better "
        "(difference −0.5 [−3.2, +2.2]) and costs 2.2 times as much to train.",
        "tie": f"Ship {other}: it and {best} are within 1 point of each other [−0.8, +0.6], and {other} costs less.",
        "undecided": f"This test set cannot tell {best} and {rival} apart at a margin of 1 point: they differ by 0.5 "
        f"points [−3.2, +2.2], and {tests} test texts show no difference smaller than 2.7 points.",
    }
    return Verdict(
        kind=kind,
        method=other if kind != "cheapest" else best,
        among=(other, best) if kind != "cheapest" else (best,),
        best=best,
        metric="accuracy",
        margin=0.01,
        sentence=sentences[kind],
        smallest_detectable_difference=0.027,
        texts_needed=5_300 if kind == "undecided" else None,
    )


def _task(name: str, labels: Sequence[str], tests: int) -> dict[str, Any]:
    return {
        "name": f"{name}.csv",
        "source": f"/home/somebody/data/{name}.csv",
        "text_column": "narrative",
        "label_column": "product",
        "label_names": list(labels),
        "splits": {
            split: {"rows": rows, "hash": digest, "per_label": dict.fromkeys(labels, rows // len(labels))}
            for split, rows, digest in (
                ("train", 3_368, "9f3c51d2"),
                ("validation", 722, "0c77aa41"),
                ("test", tests, "51d0e6f2"),
            )
        },
        "notes": ["12 exact duplicates kept on one side of the split", "3 rows without a label left out"],
    }


def _ledger(seeds: int) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "margin": 0.01,
        "cost_texts": 10_000,
        "budget": {
            "epochs": 4,
            "batch_size": 16,
            "max_length": 128,
            "learning_rates": 3,
            "precision": "auto",
            "metric": "accuracy",
        },
        "model": "minilm",
        "lora": {"rank": 8, "alpha": 16.0, "targets": ["query", "value"]},
        "path": {"device": "cpu", "precision": "bf16", "attention": "eager"},
        "splits": {"train": "9f3c51d2", "validation": "0c77aa41", "test": "51d0e6f2"},
        "machine": {"processor": "Intel Xeon", "cores": 2, "memory_bytes": 16_000_000_000, "gpu": None},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "transformers": "5.23.0"},
        "equal for all": ["The same splits.", "The test split is read once per method and seed."],
        "differences": ["probe computes its features once, so its epochs cost nothing."],
        "started": "2026-03-02T14:03:11+00:00",
        "finished": "2026-03-02T14:41:40+00:00",
    }


def _with_gaps() -> Comparison:
    """Return a comparison in which much was not measured: NaN, inf, no history, no classes, an empty ledger."""
    full = comparison(methods=["tfidf", "lora", "full"])
    first, second, third = full.summaries
    blank = replace(first, metrics={"accuracy": BLANK}, cost_seconds=math.nan, training_seconds=math.inf, histories={})
    poor = replace(second, metrics={}, per_class=(), confusion=(), cost_seconds=0.0)
    pairs = tuple(replace(pair, difference=BLANK, p=math.nan, p_holm=math.nan) for pair in full.pairs)
    return replace(full, summaries=(third, blank, poor), pairs=pairs, results=(), ledger={}, task={})


SHAPES = {
    "plain": lambda: comparison(failed=["full"]),
    "undecided": lambda: comparison(["tfidf", "probe", "lora"], ["no", "yes"], kind="undecided", seeds=1),
    "many": lambda: comparison([*LADDER, *LONG], [f"intent {number}" for number in range(150)], tests=4500),
    "none": lambda: comparison(["lora", "full"], failed=["lora", "full"], kind=None),
    "one": lambda: comparison(["lora"], ["no", "yes"], epochs=1),
    "hostile": lambda: comparison(["tfidf", HOSTILE, "x" * 90], [HOSTILE, "y" * 120, "z"], kind="tie", name=HOSTILE),
    "gaps": _with_gaps,
}


@pytest.fixture(scope="session")
def comparisons() -> dict[str, Comparison]:
    return {name: build() for name, build in SHAPES.items()}


@pytest.fixture(scope="session")
def pages(comparisons: dict[str, Comparison]) -> dict[str, str]:
    return {name: render_html(item) for name, item in comparisons.items()}


@pytest.fixture(scope="session")
def documents(comparisons: dict[str, Comparison]) -> dict[str, str]:
    return {name: render_markdown(item) for name, item in comparisons.items()}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)
