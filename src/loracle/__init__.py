"""Loracle trains every reasonable text classifier on your labelled texts and says which to ship.

    import loracle

    task = loracle.load_task("reviews.csv")
    run = loracle.compare(task, methods=["tfidf", "probe", "lora"], out="runs/reviews")
    print(run.verdict)
    classifier = loracle.load_model("runs/reviews")
    classifier.predict(["Late again, and nobody answers."])

Importing this module imports nothing heavy: each public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loracle.api import compare, describe, load_model, load_task, plan, save_task, train, write_report
    from loracle.comparison.mistakes import find_mistakes
    from loracle.comparison.side_by_side import compare_runs
    from loracle.errors import LoracleError
    from loracle.lora.config import LoRAConfig
    from loracle.lora.injection import inject, lora_state_dict, merge
    from loracle.lora.layer import LoRALinear
    from loracle.lora.peft_format import load_adapter, save_adapter
    from loracle.methods.lora import load_merged
    from loracle.models.quantising import quantise
    from loracle.prompting.config import LLMConfig
    from loracle.training.budget import Budget

__all__ = [
    "Budget",
    "LLMConfig",
    "LoRAConfig",
    "LoRALinear",
    "LoracleError",
    "compare",
    "compare_runs",
    "describe",
    "find_mistakes",
    "inject",
    "load_adapter",
    "load_merged",
    "load_model",
    "load_task",
    "lora_state_dict",
    "merge",
    "plan",
    "quantise",
    "save_adapter",
    "save_task",
    "train",
    "write_report",
]

_HOMES = {
    "Budget": "loracle.training.budget",
    "LLMConfig": "loracle.prompting.config",
    "LoRAConfig": "loracle.lora.config",
    "LoRALinear": "loracle.lora.layer",
    "LoracleError": "loracle.errors",
    "compare": "loracle.api",
    "compare_runs": "loracle.comparison.side_by_side",
    "describe": "loracle.api",
    "find_mistakes": "loracle.comparison.mistakes",
    "inject": "loracle.lora.injection",
    "load_adapter": "loracle.lora.peft_format",
    "load_merged": "loracle.methods.lora",
    "load_model": "loracle.api",
    "load_task": "loracle.api",
    "lora_state_dict": "loracle.lora.injection",
    "merge": "loracle.lora.injection",
    "plan": "loracle.api",
    "quantise": "loracle.models.quantising",
    "save_adapter": "loracle.lora.peft_format",
    "save_task": "loracle.api",
    "train": "loracle.api",
    "write_report": "loracle.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'loracle' has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
