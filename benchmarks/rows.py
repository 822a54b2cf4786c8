"""The rows of the table: what stands beside what, how large, and what the ratio should be.

Workload W is LoRA of rank 8 on query and value of MiniLM, IMDB, batches of 16; a round is an epoch over the same texts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import comparison, growth, memory, rival, scoring, workload
from benchmarks.results import Result, Side, Target
from benchmarks.rounds import OnReading, Reading, take_turns, take_turns_afresh

OURS = "Loracle"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured. Texts are those of one round."""

    data: Path
    model: str = "minilm"
    rounds: int = 5
    texts: int = 64
    max_length: int = 256
    tiny_texts: int = 1024
    memory_texts: int = 32
    scored_texts: int = 128
    slice_texts: int = 120
    growth_texts: tuple[int, int] = (1_000, 25_000)

    def shrunk(self) -> Scale:
        """Return the sizes of a smoke run, which measure nothing."""
        return replace(
            self,
            rounds=2,
            texts=16,
            max_length=min(self.max_length, 32),
            tiny_texts=64,
            memory_texts=16,
            scored_texts=32,
            slice_texts=40,
            growth_texts=(100, 400),
        )


@dataclass(frozen=True)
class Row:
    """One row: what it is about, in the table's words, the ratio that it should have, and how it is measured."""

    title: str
    unit: str
    target: Target
    measure: Callable[[Scale, OnReading], Sides]

    def run(self, name: str, scale: Scale, on_reading: OnReading) -> Result:
        """Measure the row; raises BenchmarkError where it cannot be."""
        sides = self.measure(scale, on_reading)
        return Result(
            row=name,
            title=self.title.format(length=scale.max_length),
            unit=self.unit,
            target=self.target,
            ours=sides.ours,
            others=sides.others,
            notes=sides.notes,
            settings={**asdict(scale), "data": scale.data.name},
        )


@dataclass(frozen=True)
class Sides:
    """What a row measured."""

    ours: Side
    others: tuple[Side, ...]
    notes: tuple[str, ...] = ()


def measure_documented(scale: Scale, on_reading: OnReading) -> Sides:
    """Loracle beside the documented way, in texts trained a second."""
    job = _workload(scale)
    return _train_beside(job, [rival.DOCUMENTED], scale, on_reading)


def measure_tuned(scale: Scale, on_reading: OnReading) -> Sides:
    """Loracle beside the tuned way with either attention, in texts trained a second."""
    job = _workload(scale)
    return _train_beside(job, _tuned(), scale, on_reading)


def measure_tiny(scale: Scale, on_reading: OnReading) -> Sides:
    """The same for a network of bert-tiny's size with random weights and 64 tokens."""
    length = min(64, scale.max_length)
    job = _workload(replace(scale, texts=scale.tiny_texts, max_length=length))
    job = replace(job, model=workload.BERT_TINY, random=True)
    return _train_beside(job, _tuned(), scale, on_reading)


def measure_products(scale: Scale, on_reading: OnReading) -> Sides:
    """An epoch beside its own matrix products alone, in texts a second."""
    from benchmarks import products

    job = _workload(scale)
    alone = "its own matrix products alone"
    contestants = {OURS: partial(workload.train, job=job), alone: partial(products.multiply, job=job)}
    return _rates(take_turns(contestants, scale.rounds, on_reading), len(job.train))


def measure_memory(scale: Scale, on_reading: OnReading) -> Sides:
    """How far memory grows in a fresh process, beside the documented way."""
    wide = _workload(replace(scale, texts=max(scale.memory_texts, _SCORED_AT_ONCE)))
    job = replace(_workload(replace(scale, texts=scale.memory_texts)), validation=wide.train)
    contestants = {
        OURS: partial(memory.fit, job=job),
        rival.DOCUMENTED.name: partial(memory.fit_by_trainer, job=job, recipe=rival.DOCUMENTED),
    }
    return _sides(take_turns_afresh(contestants, scale.rounds, on_reading), _as_read)


def measure_lora_beside_full(scale: Scale, on_reading: OnReading) -> Sides:
    """A step of LoRA beside one of full fine-tuning, both by Loracle, in milliseconds."""
    job = _workload(scale)
    steps = -(-len(job.train) // job.batch_size)
    contestants = {
        OURS: partial(workload.train, job=job),
        "full fine-tuning by the same loop": partial(workload.train, job=replace(job, method="full")),
    }
    readings = take_turns(contestants, scale.rounds, on_reading)
    return _sides(readings, lambda _, seconds: 1e3 * seconds / steps)


def measure_scoring(scale: Scale, on_reading: OnReading) -> Sides:
    """Texts labelled a second by a saved classifier, beside a pipeline with its best batches."""
    texts, _ = workload.load_texts(scale.data, scale.scored_texts, "test")
    with tempfile.TemporaryDirectory() as folder:
        own, merged = scoring.save_models(Path(folder), scale.model, scale.max_length)
        where: dict[str, Any] = {"folder": merged, "max_length": scale.max_length}
        trial = partial(scoring.find_best_batches, texts=texts[:_TRIED_TEXTS], **where)
        size, by_length = take_turns_afresh({"trial": trial}, 1, on_reading)["trial"][0].remark
        other = f"transformers' pipeline, fp32, batches of {size}{', sorted' if by_length else ''}"
        contestants = {
            OURS: partial(scoring.predict, folder=own, texts=texts),
            other: partial(scoring.predict_by_pipeline, texts=texts, batch_size=size, by_length=by_length, **where),
        }
        readings = take_turns(contestants, scale.rounds, on_reading)
    same = sum(a == b for a, b in zip(*(found[0].remark for found in readings.values()), strict=True))
    plain = {name: tuple(Reading(item.value) for item in found) for name, found in readings.items()}
    sides = _rates(plain, len(texts))
    return replace(sides, notes=(f"both give {same} of {len(texts)} texts the same label",))


def measure_comparison(scale: Scale, on_reading: OnReading) -> Sides:
    """The wall time of a comparison of five methods beside the fits and the scoring that it reports."""
    length = min(64, scale.max_length)
    contestant = partial(
        comparison.compare, data=scale.data, model=scale.model, texts=scale.slice_texts, max_length=length
    )
    found = take_turns({OURS: contestant}, scale.rounds, on_reading)[OURS]
    told = Side(name="fits and scoring, as it reports them", readings=tuple(float(item.remark) for item in found))
    how = f"{scale.slice_texts} training and test texts of {length} tokens, one epoch, one rate, one seed"
    return Sides(Side(name=OURS, how=how, readings=tuple(item.value for item in found)), (told,))


def measure_growth(scale: Scale, on_reading: OnReading) -> Sides:
    """Milliseconds a text for tokenising and training, many texts beside few; the memory between them as a note."""
    few, many = scale.growth_texts
    texts, labels = workload.load_texts(scale.data, many)
    short = _workload(replace(scale, texts=_SCORED_AT_ONCE, max_length=_SHORT))
    job = replace(short, model=workload.BERT_TINY, random=True, batch_size=_LARGE_BATCH)
    sizes = {f"{OURS}, {many:,} texts": many, f"{few:,} texts": few}
    contestants = {
        name: partial(
            growth.tokenise_and_train,
            job=job,
            model=scale.model,
            texts=texts[:size],
            labels=labels[:size],
            times=_FEW_TIMES if size == few else 1,
        )
        for name, size in sizes.items()
    }
    readings = take_turns(contestants, scale.rounds, on_reading)
    most, least = (max(float(item.remark) for item in readings[name]) for name in sizes)
    plain = {name: tuple(Reading(item.value) for item in found) for name, found in readings.items()}
    sides = _sides(plain, lambda name, seconds: 1e3 * seconds / sizes[name])
    note = (
        f"memory grew by {most / 1e6:.0f} MB and {least / 1e6:.0f} MB, {(most - least) / (many - few):.0f} bytes a text"
    )
    return replace(sides, notes=(note,))


_W = "LoRA on MiniLM, {length} tokens"
ROWS: Mapping[str, Row] = {
    "w-documented": Row(f"{_W}: trained", "texts/s", Target(at_least=10), measure_documented),
    "w-tuned": Row(f"{_W}: trained", "texts/s", Target(at_least=3), measure_tuned),
    "w-products": Row(f"{_W}: trained", "texts/s", Target(at_least=0.5), measure_products),
    "w-memory": Row(f"{_W}: growth of memory at the peak", "bytes", Target(at_most=0.4), measure_memory),
    "lora-vs-full": Row(f"{_W}: a training step", "ms", Target(at_most=0.7), measure_lora_beside_full),
    "tiny": Row("LoRA on bert-tiny's size, 64 tokens: trained", "texts/s", Target(at_least=4), measure_tiny),
    "scoring": Row(f"{_W}: labelled", "texts/s", Target(at_least=5), measure_scoring),
    "compare": Row("a comparison of five methods", "s", Target(at_most=1.1), measure_comparison),
    "growth": Row("tokenised and trained, 16 tokens", "ms a text", Target(at_most=1.1), measure_growth),
}

_SCORED_AT_ONCE = 64  # texts, as `fitting.SCORING_BATCH`
_TRIED_TEXTS = 64
_SHORT, _LARGE_BATCH = 16, 64  # tokens and texts
_FEW_TIMES = 5  # few texts take so little time that one fit would be noise


def _workload(scale: Scale) -> workload.Job:
    texts, labels = workload.load_texts(scale.data, scale.texts)
    train, validation = workload.tokenise_texts(scale.model, texts, labels, scale.max_length)
    return workload.Job(train=train, validation=validation, model=scale.model, max_length=scale.max_length)


def _tuned() -> list[rival.Recipe]:
    return [rival.Recipe(tuned=True, attention=attention) for attention in rival.ATTENTIONS]


def _train_beside(job: workload.Job, recipes: list[rival.Recipe], scale: Scale, on_reading: OnReading) -> Sides:
    contestants = {OURS: partial(workload.train, job=job)}
    contestants |= {recipe.name: partial(rival.train, job=job, recipe=recipe) for recipe in recipes}
    return _rates(take_turns(contestants, scale.rounds, on_reading), len(job.train))


def _rates(readings: Mapping[str, tuple[Reading, ...]], texts: int) -> Sides:
    return _sides(readings, lambda _, seconds: texts / seconds)


def _sides(readings: Mapping[str, tuple[Reading, ...]], convert: Callable[[str, float], float]) -> Sides:
    """Return the sides in the row's unit, the first of them Loracle's; what each says of itself is how it was run."""
    ours, *others = (
        Side(name=name, how=_list_remarks(found), readings=tuple(convert(name, item.value) for item in found))
        for name, found in readings.items()
    )
    return Sides(ours, tuple(others))


def _list_remarks(readings: tuple[Reading, ...]) -> str:
    """Return what a contestant says of how it ran; all of it where that was not the same in each round."""
    return " or ".join(dict.fromkeys(str(item.remark) for item in readings if item.remark))


def _as_read(name: str, value: float) -> float:  # noqa: ARG001
    return value
