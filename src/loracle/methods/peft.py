"""Other PEFT methods, trained by PEFT itself in the one loop: `peft:ia3.json` is what the file configures.

The table calls it by the file's name, `peft:ia3`. In a stored configuration it is `peft:/folder/ia3.json@hash`, so that
a run is continued with the same content or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, unknown
from loracle.files import load_json
from loracle.methods.finetune import BASE_PRECISION, check_base, load_scorer, training
from loracle.methods.naming import PEFT, with_options

if TYPE_CHECKING:
    from loracle.data.task import Task
    from loracle.methods.method import Method, Scorer, Setup
    from loracle.models.loading import Base

SUPPORTED = (
    *("ADALORA", "BOFT", "C3A", "DELORA", "FOURIERFT", "GRALORA", "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "LORA"),
    *("MISS", "OFT", "P_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "RANDLORA", "ROAD", "SHIRA", "VBLORA", "VERA"),
    "WAVEFT",
)
"""Types of PEFT that are known to work here: each has a test."""
_REFUSED = {
    "ADAPTION_PROMPT": "it is for LLaMA and Mistral alone",
    "CPT": "it is for language models that continue a text",
    "MULTITASK_PROMPT_TUNING": "it needs the number of a task beside each text",
    "POLY": "it needs the number of a task beside each text",
    "TRAINABLE_TOKENS": "it does not save the head",
    "XLORA": "it mixes adapters that were trained before",
}
_UNREAD = {
    **dict.fromkeys(("auto_mapping", "megatron_config", "tokenizer_kwargs"), "could run code that a file names"),
    "prompt_tuning_init_state_dict_path": "could unpickle a file",
    **dict.fromkeys(("prompt_tuning_init_text", "tokenizer_name_or_path"), "loads another tokenizer"),
    **dict.fromkeys(("corda_config", "eva_config", "loftq_config", "lora_ga_config"), "needs data before training"),
}
_DROPPED = {"runtime_config", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "task_type"}
_CONFIG = "adapter_config.json"
_LEARNING_RATES = (3e-3, 1e-2, 1e-3, 3e-2, 3e-4)
_NAME = re.compile(rf"{PEFT}:\s*(?P<path>.+?\.json)(?:@(?P<hash>[0-9a-f]{{12}}))?(?P<options>(?::[^:/]*=[^:/]*)*)\s*")
_STEM = re.compile(r"[\w+-]+")  # a name is part of the names of files


@dataclass(frozen=True, kw_only=True)
class PeftFile:
    """A configuration of PEFT that was read from a file: where it lies, what is in it, and its hash."""

    path: Path
    content: Mapping[str, Any]
    hash: str


def find_peft(name: str) -> Method:
    """Return the method that `peft:<config.json>` names, which may carry options: `peft:ia3.json:learning_rate=1e-2`.

    Raises ConfigError where the file is missing, is no configuration of PEFT, changed since the run that names it by
    hash, or asks for what is not supported, and where PEFT is not installed.
    """
    parts = _NAME.fullmatch(name)
    if not parts:
        raise ConfigError(f"method {name!r}: {PEFT}: takes a JSON file of PEFT, such as {PEFT}:ia3.json")
    file = read_file(Path(parts["path"]))
    if parts["hash"] not in (None, file.hash):
        raise ConfigError(
            f"{file.path} changed since the run that names it; give the same methods with the file as it was, "
            "or another folder with --out"
        )
    short = f"{PEFT}:{file.path.stem}"
    stored = f"{PEFT}:{file.path}@{file.hash}{parts['options']}"
    return replace(with_options(f"{short}{parts['options']}", _method(short, file)), stored_name=stored)


def load_peft(folder: Path) -> Scorer:
    """Load what a PEFT method saved; raises ConfigError where PEFT is not installed."""
    _check_library()
    return load_scorer(folder, _save, _load)


def read_file(path: Path) -> PeftFile:
    """Read and check a configuration of PEFT; raises ConfigError, naming the file, for what cannot be used."""
    path = path.expanduser().resolve()
    if not _STEM.fullmatch(path.stem):
        raise ConfigError(f"{path} cannot name a method; rename it with letters, digits, _, + and - before .json")
    if "," in str(path):
        raise ConfigError(f"{path} has a comma, which stands between two methods; move the file to another folder")
    try:
        text = path.read_bytes()
        content = json.loads(text)
    except OSError as error:
        raise ConfigError(f"no PEFT configuration at {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("peft_type"), str):
        raise ConfigError(f"{path} names no peft_type; give what PEFT writes as adapter_config.json")
    try:
        _check(content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    kept = {key: value for key, value in content.items() if key not in _DROPPED}
    return PeftFile(path=path, content=kept, hash=hashlib.sha256(text).hexdigest()[:12])


def _check(content: Mapping[str, Any]) -> None:
    kind = content["peft_type"]
    if kind in _REFUSED:
        raise ConfigError(f"peft_type {kind} is not supported: {_REFUSED[kind]}")
    if kind not in SUPPORTED:
        raise unknown("peft_type", kind, SUPPORTED)
    if content.get("task_type") not in (None, "SEQ_CLS"):
        raise ConfigError(f"task_type is {content['task_type']!r}; allowed: SEQ_CLS, or leave it out")
    for key, reason in _UNREAD.items():
        if content.get(key):
            raise ConfigError(f"{key} is refused, since it {reason}; leave it out")
    start = str(content.get("init_lora_weights"))
    if start.lower().startswith("pissa_niter"):
        raise ConfigError(f"init_lora_weights {start} is drawn at random, anew when the adapter is loaded; write pissa")
    _check_library()
    from loracle.models.adapting import parse_config

    parse_config(_scheduled({key: value for key, value in content.items() if key not in _DROPPED}, steps=10**9))


def _check_library() -> None:
    if importlib.util.find_spec("peft") is None:
        raise ConfigError("methods of PEFT need peft; `pip install 'loracle[peers]'` brings it")


def _scheduled(content: Mapping[str, Any], *, steps: int) -> dict[str, Any]:
    """Return the configuration with the number of training steps where the method needs to know it."""
    return {**content, **({"total_step": steps} if content["peft_type"] == "ADALORA" else {})}


def _method(name: str, file: PeftFile) -> Method:
    def build(task: Task, setup: Setup) -> Base:
        from loracle.models.adapting import adapt
        from loracle.models.loading import check_max_length, load_base
        from loracle.models.quantising import quantise

        base = load_base(setup.model, task.label_names)
        check_max_length(base.tokenizer, base.config, setup.budget.max_length)
        _check_positions(base, file, setup)
        adapted = adapt(base, _scheduled(file.content, steps=_count_steps(task, setup)))
        quantise(adapted.network, setup.base_precision, keep=adapted.head)
        return adapted

    def check(task: Task, setup: Setup) -> None:
        from loracle.models.adapting import parse_config

        check_base(task, setup)
        _check_recomputing(file, setup)
        parse_config(_scheduled(file.content, steps=_count_steps(task, setup)))

    summary = f"{file.content['peft_type']} through PEFT, and the head"
    method = training(name, summary, _LEARNING_RATES, build, _save, _load, options=(BASE_PRECISION,), count=_count)
    return replace(method, check=check)


def _count_steps(task: Task, setup: Setup) -> int:
    return setup.budget.epochs * -(-len(task.train) // setup.budget.batch_size)


def _check_recomputing(file: PeftFile, setup: Setup) -> None:
    if setup.budget.gradient_checkpointing and file.content["peft_type"] == "PREFIX_TUNING":
        raise ConfigError(
            f"{file.path}: PREFIX_TUNING hands each layer keys and values, which cannot be recomputed; "
            "leave gradient_checkpointing or this method out"
        )


def _check_positions(base: Base, file: PeftFile, setup: Setup) -> None:
    from loracle.models.families import count_positions

    virtual = file.content.get("num_virtual_tokens") or 0
    limit = count_positions(base.config)
    if limit is not None and virtual + setup.budget.max_length > limit:
        raise ConfigError(
            f"{file.path}: {virtual} virtual tokens and a max_length of {setup.budget.max_length} are more than the "
            f"{limit} positions of this base model; lower --max-length"
        )


def _count(base: Base) -> Any:
    from loracle.models.adapting import count_adapted

    return count_adapted(base)


def _save(base: Base, folder: Path) -> None:
    from loracle.models.adapting import save_adapted
    from loracle.models.loading import hub_name

    save_adapted(base, folder, base_name=hub_name(base.name))


def _load(folder: Path, model: str, label_names: Sequence[str]) -> Base:
    from loracle.models.adapting import load_adapted
    from loracle.models.loading import load_base

    _check(load_json(folder / _CONFIG, keys=("peft_type",)))
    return load_adapted(load_base(model, label_names), folder)
