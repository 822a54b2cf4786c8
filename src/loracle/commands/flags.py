"""What several commands share: the options that name the data, and where they print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from loracle import printing
from loracle.comparison.plan import Plan
from loracle.data.preparing import Preparation
from loracle.lora.config import LoRAConfig
from loracle.models.networks import NetworkConfig
from loracle.prompting.config import LLMConfig
from loracle.training.budget import Budget

if TYPE_CHECKING:
    from rich.console import Console

    from loracle.data.loading import OnRows
    from loracle.data.task import Task


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """How to read the data."""

    text_column: str | None = None
    """Column with the texts; guessed where there is one sensible choice."""
    label_column: str | None = None
    """Column with the labels; guessed where there is one sensible choice."""
    label_separator: str | None = None
    """Sign between the labels of a text that has several, such as ';'; lists need none."""
    test: Path | None = None
    """File with the test split; made from DATA where neither has one."""
    max_train: int | None = None
    """Use at most so many training texts, stratified."""
    max_test: int | None = None
    """Use at most so many test texts, stratified."""
    strict: bool = False
    """Refuse rows without text or label, instead of dropping and counting them."""
    drop_rare: bool = False
    """Drop labels with too few texts for the splits, instead of refusing the data."""
    split_seed: int = 0
    """Seed of the splits that are made, and of stratified samples."""


@dataclass(frozen=True, kw_only=True)
class MethodFlags:
    """What the methods are made of, each part under its heading."""

    budget: Annotated[Budget, Parameter(name="*", group="Training")] = field(default_factory=Budget)
    lora: Annotated[LoRAConfig, Parameter(name="*", group="LoRA")] = field(default_factory=LoRAConfig)
    networks: Annotated[NetworkConfig, Parameter(name="*", group="Methods partial, scratch, lstm and untrained")] = (
        field(default_factory=NetworkConfig)
    )
    llm: Annotated[LLMConfig, Parameter(name="*", group="Methods llm and llm-few")] = field(default_factory=LLMConfig)


DATA, PREPARATION, PLAN, METHODS = DataFlags(), Preparation(), Plan(), MethodFlags()

Data = Annotated[DataFlags, Parameter(name="*", group="Data")]
Preparing = Annotated[Preparation, Parameter(name="*", group="Preparation")]
Decision = Annotated[Plan, Parameter(name="*", group="Decision")]
Methods = Annotated[MethodFlags, Parameter(name="*")]


def open_console() -> Console:
    """Return the console that commands print to: no colours of its own making, no markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def read_task(data: str | None, flags: DataFlags, console: Console, preparation: Preparation = PREPARATION) -> Task:
    """Load the task that the flags describe, and say what was found."""
    from loracle.data.loading import load_task

    with row_progress(console) as on_rows:
        task = load_task(data, **asdict(flags), **asdict(preparation), on_rows=on_rows)
    printing.print_task(task, console)
    return task


@contextmanager
def row_progress(console: Console) -> Iterator[OnRows]:
    """Show on a terminal what is being read or written, and how many rows of it are done; nothing elsewhere."""
    from rich.text import Text

    with console.status(Text("reading")) as status:

        def on_rows(what: str, rows: int) -> None:
            status.update(Text(f"{what}: {rows:,} rows"))

        yield on_rows
