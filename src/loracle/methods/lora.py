"""LoRA: the base is frozen, low-rank updates and the head are trained, and an adapter folder is saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.methods.finetune import finetuning

if TYPE_CHECKING:
    from loracle.methods.method import Setup
    from loracle.models.loading import Base


def prepare_lora(base: Base, setup: Setup) -> None:
    """Inject LoRA layers at the asked or the usual targets; the head stays trainable."""
    from loracle.lora.injection import inject, match_targets
    from loracle.models.families import resolve_targets

    linear = match_targets(base.network, (ALL_LINEAR,), head=base.head)
    targets = resolve_targets(setup.lora.targets, base.config.model_type, linear=linear)
    inject(base.network, replace(setup.lora, targets=targets), head=base.head)


def save_lora(base: Base, folder: Path) -> None:
    """Write the adapter folder, with the head and the identity of the base."""
    from loracle.lora.peft_format import save_adapter
    from loracle.models.loading import hub_name

    save_adapter(base.network, folder, base_name=hub_name(base.name), base_identity=base.identity)


def load_lora(folder: Path, model: str, label_names: Sequence[str], attention: str) -> Base:
    """Load the base model with an adapter folder; raises ModelError where the one does not fit the other."""
    from loracle.lora.peft_format import load_adapter
    from loracle.models.loading import load_base

    base = load_base(model, label_names, attention=attention)
    load_adapter(base.network, folder, head=base.head, base_identity=base.identity)
    return base


LORA = finetuning(
    "lora",
    "low-rank updates of frozen layers, and the head",
    (1e-3, 3e-3, 3e-4, 1e-2, 1e-4),
    prepare_lora,
    save_lora,
    load_lora,
    options=tuple(field.name for field in fields(LoRAConfig)),
)
