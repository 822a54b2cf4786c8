"""The matrix products of a training step: recorded from a real one, and done alone at the same shapes and precision.

A fused attention counts as the products that it stands for: two forward, and five backward, where the scores are
computed again. Fused or not, what is done alone is plain, from contiguous inputs into memory that is there already, and
without the bias.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.rounds import Gate
from benchmarks.workload import Epochs, Job, build_base, fit_job

_PLAIN = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1, "_addmm_activation": 1}  # by place of the first factor
_FUSED = "_scaled_dot_product_"


@dataclass(frozen=True)
class Product:
    """`batch` products of (rows, inner) by (inner, columns)."""

    batch: int
    rows: int
    inner: int
    columns: int
    dtype: torch.dtype

    @property
    def multiplications(self) -> int:
        """How many numbers are multiplied."""
        return self.batch * self.rows * self.inner * self.columns


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Lists the matrix products of what runs within it, the backward pass included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.products: list[Product] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note the products of one operation, and let it run."""
        self.products += list_products(func.overloadpacket.__name__.rstrip("_"), args)  # addmm_ adds in place
        return func(*args, **(kwargs or {}))


def list_products(name: str, args: Sequence[Any]) -> Iterator[Product]:
    """Yield the matrix products of one operation of torch, known by name; none for any other operation."""
    if name in _PLAIN:
        first, second = args[_PLAIN[name] : _PLAIN[name] + 2]
        batch = first.shape[0] if first.ndim == 3 else 1
        yield Product(batch, first.shape[-2], first.shape[-1], second.shape[-1], first.dtype)
    elif name.startswith(_FUSED) and name.endswith("_backward"):
        yield from _fused_backward(args[1], args[3])
    elif name.startswith(_FUSED):
        yield from _fused_forward(args[0], args[2])


def record_epoch(job: Job) -> list[Product]:
    """Return the products of all steps of the second epoch of a fit; nothing is measured or prepared in it any more."""
    from loracle.training.precision import choose_path

    path, recorder, recording = choose_path(), Recorder(), ExitStack()
    base, begun = build_base(job, path), itertools.count(1)

    def begin() -> None:
        if next(begun) == 2:
            recording.enter_context(recorder)

    begin()
    fit_job(job, base.network, path, Epochs(job, begin, recording.close), epochs=2)
    return recorder.products


def prepare_products(products: Sequence[Product], device: str = "cpu") -> Callable[[], None]:
    """Return what does these products in order; equal ones share their memory."""
    operands: dict[Product, tuple[Tensor, Tensor, Tensor]] = {}
    for product in products:
        if product not in operands:
            operands[product] = _allocate(product, device)
    calls = [operands[product] for product in products]

    def multiply() -> None:
        for first, second, out in calls:
            (torch.bmm if first.ndim == 3 else torch.mm)(first, second, out=out)

    return multiply


def multiply(gate: Gate, job: Job) -> None:
    """Do the products of an epoch alone, an epoch a round."""
    products = record_epoch(job)
    once = prepare_products(products)
    count, size = len(products), sum(product.multiplications for product in products)

    def epoch() -> str:
        once()
        return f"{count} products an epoch, {2 * size / 1e9:.0f} GFLOP"

    gate.repeat(epoch)


def _allocate(product: Product, device: str) -> tuple[Tensor, Tensor, Tensor]:
    sizes = ((product.rows, product.inner), (product.inner, product.columns), (product.rows, product.columns))
    batch = (product.batch,) if product.batch > 1 else ()
    first, second, out = (torch.randn(*batch, *size, device=device).to(product.dtype) for size in sizes)
    return first, second, out


def _fused_forward(query: Tensor, value: Tensor) -> Iterator[Product]:
    batch, length, width = math.prod(query.shape[:-2]), query.shape[-2], query.shape[-1]
    others, out = value.shape[-2:]
    yield Product(batch, length, width, others, query.dtype)  # scores
    yield Product(batch, length, others, out, query.dtype)


def _fused_backward(query: Tensor, value: Tensor) -> Iterator[Product]:
    batch, length, width = math.prod(query.shape[:-2]), query.shape[-2], query.shape[-1]
    others, out = value.shape[-2:]
    yield Product(batch, length, width, others, query.dtype)  # scores, again
    yield Product(batch, others, length, out, query.dtype)  # to the values
    yield Product(batch, length, out, others, query.dtype)  # to the weights
    yield Product(batch, length, others, width, query.dtype)  # to the queries
    yield Product(batch, others, length, width, query.dtype)  # to the keys
