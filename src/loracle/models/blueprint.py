"""A base model from its sizes alone: the network on the meta device, where nothing is allocated or downloaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loracle.errors import ModelError
from loracle.models.loading import Base, head_of_architecture, reading, resolve_base

if TYPE_CHECKING:
    from torch import nn

# what is decided here, and not by the file
_NOT_SIZES = {"model_type", "num_labels", "id2label", "label2id", "dtype", "torch_dtype", "quantization_config"}


def load_sizes(name: str) -> dict[str, Any]:
    """Return what config.json of a base model says: of `minilm`, a folder, a Hub name, or a config.json itself.

    Raises ModelError where there is none, or it is that of no transformer.
    """
    from transformers import PretrainedConfig

    path = Path(name).expanduser()
    place = str(path) if path.suffix == ".json" else resolve_base(name)
    if path.suffix == ".json" and not path.is_file():
        raise ModelError(f"no such file: {name}; give a config.json, a folder, a Hub name, or 'minilm'")
    with reading(name):
        sizes: dict[str, Any] = PretrainedConfig.get_config_dict(place)[0]
    if not isinstance(sizes, dict) or "model_type" not in sizes:
        raise ModelError(f"{name} names no model_type, so it is the configuration of no transformer")
    return sizes


def build_blueprint(
    name: str, sizes: Mapping[str, Any], labels: Sequence[str], *, attention: str = "sdpa", device: str = "meta"
) -> Base:
    """Build the network with a classification head and no tokenizer: without values, or random ones on another device.

    Raises ModelError where transformers has no such architecture, or none that classifies texts.
    """
    from transformers import AutoConfig

    from loracle.models.padding import forget_past

    named = dict(enumerate(labels))
    own = {key: value for key, value in sizes.items() if key not in _NOT_SIZES}
    try:
        config = AutoConfig.for_model(sizes["model_type"], **own)
        config.id2label, config.label2id = named, {label: index for index, label in named.items()}
        if getattr(config, "pad_token_id", None) is None:
            config.pad_token_id = 0  # any will do: a decoder's head asks for the last token that is no padding
        network = _build(config, attention, device)
    except Exception as error:  # sizes that do not fit together are told in a hundred ways
        first = str(error).strip().partition("\n")[0]
        raise ModelError(f"{name} is no transformer that classifies texts: {first}") from error
    forget_past(network)
    no_tokenizer: Any = None
    return Base(name, network, no_tokenizer, head_of_architecture(network))


def _build(config: Any, attention: str, device: str) -> nn.Module:
    """Build with this attention, or with plain matrix products where the architecture has nothing else."""
    import torch
    from transformers import AutoModelForSequenceClassification

    with torch.device(device):
        try:
            network: nn.Module = AutoModelForSequenceClassification.from_config(
                config, attn_implementation=attention, dtype=torch.float32
            )
        except ValueError:
            network = AutoModelForSequenceClassification.from_config(
                config, attn_implementation="eager", dtype=torch.float32
            )
    return network
