"""The variants of LoRA as methods: each is `lora` with one option set, which `lora/variants.py` explains.

Another value of that option is `lora` too: `lora:b_learning_rate_ratio=4`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from loracle.methods.finetune import finetuning
from loracle.methods.lora import LORA, load_lora, prepare_lora, save_lora

if TYPE_CHECKING:
    from loracle.methods.method import Method, Setup
    from loracle.models.loading import Base

_LOWER = (3e-4, 1e-3, 1e-4, 3e-3, 3e-5)  # where A and B start large, or B learns faster than A


def _variant(name: str, summary: str, option: str, value: Any, rates: tuple[float, ...]) -> Method:
    """Return LoRA with one option set, whatever the setup says of it; the name cannot say otherwise."""

    def prepare(base: Base, setup: Setup) -> None:
        prepare_lora(base, replace(setup, lora=replace(setup.lora, **{option: value})))

    others = tuple(other for other in LORA.options if other != option)
    return finetuning(name, summary, rates, prepare, save_lora, load_lora, options=others)


VARIANTS = (
    _variant("rslora", "LoRA scaled by the root of its rank", "rslora", True, LORA.learning_rates),
    _variant("lora-plus", "LoRA whose B learns 16 times as fast as A", "b_learning_rate_ratio", 16.0, _LOWER),
    _variant("lora-fa", "LoRA whose A stays as it starts", "freeze_a", True, LORA.learning_rates),
    _variant("rank-dropout", "LoRA that leaves out a tenth of its ranks", "rank_dropout", 0.1, LORA.learning_rates),
    _variant("dora", "LoRA with row lengths trained apart", "dora", True, LORA.learning_rates),
    _variant("pissa", "LoRA from the largest singular values", "initialisation", "pissa", _LOWER),
    _variant("olora", "LoRA from a QR decomposition", "initialisation", "olora", _LOWER),
)
