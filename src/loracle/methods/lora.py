"""LoRA: the base is frozen, low-rank updates and the head are trained, and an adapter folder is saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from loracle.errors import ModelError
from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.methods.finetune import BASE_PRECISION, finetuning, problem_type, read_saved
from loracle.methods.method import read_manifest

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


def find_common(setup: Setup) -> Setup | None:
    """Return what setups of fits in one pass must agree in, all but rank and alpha; None where a fit is trained alone.

    Dropout would draw other random numbers in a pass than alone, and a bank adds LoRA's plain sums to a whole base.
    """
    budget, lora = setup.budget, setup.lora
    plain = not (lora.dora or lora.dropout or lora.rank_dropout) and lora.initialisation == "zero"
    as_ever = not (budget.deterministic or budget.gradient_checkpointing or budget.base_dropout)
    if not (plain and as_ever) or setup.base_precision != "full":
        return None
    return replace(setup, lora=replace(lora, rank=1, alpha=1.0))


def load_merged(folder: str | Path) -> Base:
    """Load the LoRA classifier saved in `folder` with its update merged into the base's full-precision weights.

    However the base was held in training, it is loaded again in float32 first. The network is a plain one, which
    `network.save_pretrained` writes. Raises ModelError or FileError where the folder holds no LoRA classifier.
    """
    from loracle.lora.injection import merge
    from loracle.lora.peft_config import CONFIG_FILE

    manifest = read_manifest(Path(folder))
    if not (Path(folder) / CONFIG_FILE).is_file():
        raise ModelError(f"{folder} holds a classifier of {manifest['method']}; only one of LoRA can be merged")
    saved = read_saved(Path(folder))
    base = load_lora(Path(folder), saved["model"], saved["label_names"])
    merge(base.network)
    base.config.problem_type = problem_type(saved.get("multi_label", False))
    base.network.eval()
    return base


def save_lora(base: Base, folder: Path) -> None:
    """Write the adapter folder, with the head and the identity of the base."""
    from loracle.lora.peft_format import save_adapter
    from loracle.models.loading import hub_name

    save_adapter(base.network, folder, base_name=hub_name(base.name), base_identity=base.identity)


def load_lora(folder: Path, model: str, label_names: Sequence[str]) -> Base:
    """Load the base model with an adapter folder; raises ModelError where the one does not fit the other."""
    from loracle.lora.peft_format import load_adapter
    from loracle.models.loading import load_base

    base = load_base(model, label_names)
    load_adapter(base.network, folder, head=base.head, base_identity=base.identity)
    return base


LORA = finetuning(
    "lora",
    "low-rank updates of frozen layers, and the head",
    (1e-3, 3e-3, 3e-4, 1e-2, 1e-4),
    prepare_lora,
    save_lora,
    load_lora,
    options=(*(field.name for field in fields(LoRAConfig)), BASE_PRECISION),
    common=find_common,
)
