"""How texts of different lengths share a batch: padded on the right, with a token that network and tokenizer agree on.

The decoders of transformers with a classification head read a text at its last token that is not the padding token.
Padding on the right leaves each token its position, and the last such token is the last of the text as long as no text
contains the padding token; `tokenizer_options` sees to it. Whatever architecture Loracle does not know by name is tried
on two texts when it is loaded, and refused where one changes the other's output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loracle.errors import ModelError
from loracle.models.families import FAMILIES, reads_last_token

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

_SHORT, _LONG = "a text", "another text, which is longer than the first one, so that the first one is padded"
TOLERANCE = 1e-4  # float32 differs by 1e-6; what reads a padding token by far more


def tokenizer_options(model_type: str) -> dict[str, Any]:
    """Return what the tokenizer of an architecture is loaded with, and saves.

    In a text for a decoder "</s>" is four characters and no end, so that a text cannot move the place where it is read.
    """
    return {"padding_side": "right", "split_special_tokens": reads_last_token(model_type)}


def choose_padding(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Let a tokenizer without a padding token pad with its end of text; raises ModelError where it has neither."""
    if tokenizer.pad_token_id is not None:
        return
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {name} has neither a padding token nor an end of text; "
            "add one of them to its tokenizer_config.json"
        )
    tokenizer.pad_token = tokenizer.eos_token


def agree_on_padding(network: nn.Module, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Tell the network which token pads, and that nothing is kept from one call to the next.

    Raises ModelError where the network has no embedding for the token.
    """
    pad, rows = tokenizer.pad_token_id, network.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    if pad >= rows:
        raise ModelError(
            f"the padding token {tokenizer.pad_token!r} of {name} has the id {pad}, its network knows {rows} tokens; "
            "give a tokenizer that belongs to the network"
        )
    network.config.get_text_config().pad_token_id = pad  # type: ignore[union-attr, operator]
    network.config.pad_token_id = pad  # type: ignore[union-attr]
    forget_past(network)


def reads_without_mask(network: nn.Module) -> bool:
    """Say whether the network takes no mask where no text of a batch is padded: known architectures, as they are."""
    return getattr(getattr(network, "config", None), "model_type", None) in FAMILIES and hasattr(
        network, "get_input_embeddings"
    )


def forget_past(network: nn.Module) -> None:
    """Let a decoder keep no keys and values, which only generation needs."""
    for module in network.modules():
        if hasattr(getattr(module, "config", None), "use_cache"):
            module.config.use_cache = False  # type: ignore[union-attr]


def check_neighbours(network: nn.Module, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Run a network of an architecture that is not known by name on two texts.

    Raises ModelError where it cannot be run, or where a text's output depends on the text it is padded beside.
    """
    model_type = network.config.model_type  # type: ignore[union-attr]
    if model_type in FAMILIES:
        return
    try:
        moved = measure_move(network, tokenizer, _SHORT, _LONG)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError) as error:
        why = str(error).strip().partition("\n")[0]
        raise ModelError(f"{name} cannot be used: the architecture {model_type!r} does not run: {why}") from error
    if not moved <= TOLERANCE:
        raise ModelError(
            f"{name} cannot be used: in the architecture {model_type!r} padding changes what a text gives; "
            f"give a base model of another (known are {', '.join(FAMILIES)})"
        )


def measure_move(network: nn.Module, tokenizer: PreTrainedTokenizerBase, first: str, longer: str) -> float:
    """Return how far the first output of a text moves, relative to it, where it is padded beside a longer one."""
    import torch

    short, long = (tokenizer(text)["input_ids"] for text in (first, longer))
    padding = len(long) - len(short)
    ids = torch.tensor([short + [tokenizer.pad_token_id] * padding, long])
    mask = torch.tensor([[1] * len(short) + [0] * padding, [1] * len(long)])
    with torch.inference_mode():
        alone = network(input_ids=ids[:1, : len(short)], attention_mask=mask[:1, : len(short)])[0][0]
        beside = network(input_ids=ids, attention_mask=mask)[0][0]
    return float((alone - beside[: len(alone)]).abs().max()) / max(1.0, float(alone.abs().max()))
