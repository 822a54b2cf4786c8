"""What is trained, for all contestants alike, and Loracle's way of training it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.rounds import BenchmarkError, Gate
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Setup
from loracle.training.budget import Budget

if TYPE_CHECKING:
    from torch import nn

    from loracle.models.loading import Base
    from loracle.training.batching import Tokens
    from loracle.training.fitting import OnStep
    from loracle.training.precision import ComputePath

DATA = Path(__file__).parents[2] / "shared" / "data" / "imdb"
LABELS = ("0", "1")
LEARNING_RATE = 1e-3
BERT_TINY = "prajjwal1/bert-tiny"
_VALIDATED, _VALIDATED_LENGTH = 8, 16  # texts and their tokens: so few that scoring them takes no time
MANY = 1_000_000  # epochs: the parent says when it is enough


@dataclass(frozen=True, kw_only=True)
class Job:
    """A base model, how it is trained, and on which tokens. `random` gives it random weights of the model's sizes."""

    train: Tokens
    validation: Tokens
    model: str = "minilm"
    method: str = "lora"
    random: bool = False
    batch_size: int = 16
    max_length: int = 256
    seed: int = 0
    lora: LoRAConfig = field(default_factory=lambda: LoRAConfig(rank=8, alpha=16))

    def setup(self, *, epochs: int = MANY) -> Setup:
        """Return the options as Loracle's methods take them; training does not end before the epochs do."""
        budget = Budget(epochs=epochs, patience=epochs, batch_size=self.batch_size, max_length=self.max_length)
        return Setup(model=self.model, budget=budget, lora=self.lora)


def load_texts(folder: Path, number: int, split: str = "train") -> tuple[list[str], np.ndarray]:
    """Return so many texts, drawn with a fixed seed, and their labels, from one of two Parquet files."""
    import pyarrow.parquet as pq

    path = folder / f"{split}.parquet"
    if not path.is_file():
        raise BenchmarkError(f"no {path}; give the folder of IMDB's train.parquet and test.parquet with --data")
    table = pq.read_table(path, columns=["text", "label"])
    if number > len(table):
        raise BenchmarkError(f"{path} has {len(table)} texts; {number} were asked for")
    drawn = table.take(np.random.default_rng(0).permutation(len(table))[:number])
    return drawn["text"].to_pylist(), drawn["label"].to_numpy().astype(np.int64)


def tokenise_texts(model: str, texts: Sequence[str], labels: np.ndarray, max_length: int) -> tuple[Tokens, Tokens]:
    """Return the texts as tokens, and a few of them, very short, as a validation split that takes no time."""
    from loracle.models.loading import load_tokenizer
    from loracle.training.batching import tokenise

    tokenizer = load_tokenizer(model)
    few = texts[:_VALIDATED]
    short = min(max_length, _VALIDATED_LENGTH)
    return (
        tokenise(tokenizer, texts, max_length, labels=labels),
        tokenise(tokenizer, few, short, labels=np.arange(len(few)) % len(LABELS)),
    )


def build_base(job: Job, path: ComputePath) -> Base:
    """Return the network as Loracle's method leaves it, ready to be trained."""
    import torch

    from loracle.methods.registry import find_methods
    from loracle.models.loading import load_base
    from loracle.planning.forecasting import Builder

    torch.manual_seed(job.seed)
    setup = job.setup()
    base = Builder(setup, len(LABELS))(path.device) if job.random else load_base(job.model, LABELS)
    prepare = find_methods([job.method])[0].prepare
    assert prepare is not None
    prepare(base, setup)
    return base


def fit_job(
    job: Job, network: nn.Module, path: ComputePath, on_step: OnStep | None = None, *, epochs: int = MANY
) -> None:
    """Train the network as the job says, by Loracle's own loop."""
    from loracle.training import fitting

    fitting.fit(
        network,
        job.train,
        job.validation,
        job.setup(epochs=epochs).budget,
        learning_rate=LEARNING_RATE,
        seed=job.seed,
        path=path,
        on_step=on_step,
    )


class Epochs:
    """An `on_step` that tells epochs apart: `begin` is called before each, `end` after its last training step.

    What happens between the two is training alone; validation comes after `end` and before the next `begin`.
    """

    def __init__(self, job: Job, begin: Callable[[], object], end: Callable[[], object]) -> None:
        self._trained, self._all = len(job.train), len(job.train) + len(job.validation)
        self._begin, self._end, self._done = begin, end, 0

    def __call__(self, texts: int, loss: float | None) -> None:
        """Count the texts of a step or of a scored batch."""
        self._done += texts
        if loss is not None and self._done == self._trained:
            self._end()
        if self._done == self._all:
            self._done = 0
            self._begin()


class Stopwatch:
    """Times what lies between `begin`, where it waits for its turn, and `end`; `describe` says how it was done."""

    def __init__(self, gate: Gate, describe: Callable[[], Any] = lambda: None) -> None:
        self._gate, self._describe = gate, describe
        self._started = self._ended = 0.0
        self._remark: Any = None

    def begin(self) -> None:
        """Report the round before, where there was one, and wait for the next; raises Stopped where there is none."""
        if self._ended:
            self._gate.report(self._ended - self._started, self._remark)
        self._gate.wait()
        self._started = time.perf_counter()

    def end(self) -> None:
        """Stop the clock."""
        self._ended = time.perf_counter()
        self._remark = self._describe()


def train(gate: Gate, job: Job) -> None:
    """Train by Loracle's own loop; a round is an epoch, from its beginning to the end of its last step."""
    from loracle.evaluation.metrics import measure
    from loracle.training.precision import choose_path

    assert job.validation.labels is not None
    path = choose_path()
    base = build_base(job, path)

    def describe() -> str:
        return f"{path.precision}, {base.config._attn_implementation} attention"

    # What is imported for the first scores of all is no part of a round.
    measure(job.validation.labels, np.full((len(job.validation), len(LABELS)), 0.5, np.float32))
    watch = Stopwatch(gate, describe)
    on_step = Epochs(job, watch.begin, watch.end)
    watch.begin()
    fit_job(job, base.network, path, on_step)
