"""The last layer may be computed for the token that the head reads: nothing that is read changes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from loracle.lora.config import ALL_LINEAR, LoRAConfig
from loracle.lora.injection import inject
from loracle.models.families import FAMILIES
from loracle.models.freezing import find_blocks
from loracle.models.loading import Base, load_base
from loracle.models.narrowing import reading_first_token
from loracle.training.batching import tokenise

Checkpoint = Callable[[str], Path]
TEXTS = ["late again", "the parcel was never answered and nobody was friendly", "thanks"]
LABELS = torch.tensor([0, 1, 1])


def prepared(folder: Path, *, lora: bool) -> Base:
    torch.manual_seed(0)
    base = load_base(str(folder), ("bad", "good"))
    if lora:
        inject(base.network, LoRAConfig(rank=2, targets=(ALL_LINEAR,)), head=base.head)
    return base


def run(base: Base) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the logits of padded texts, and the gradient of everything that is trained."""
    ids, mask = tokenise(base.tokenizer, TEXTS, 32).pad_batch(torch.arange(len(TEXTS)).numpy())
    logits = base.network(input_ids=ids, attention_mask=mask).logits
    trained = {name: item for name, item in base.network.named_parameters() if item.requires_grad}
    loss = torch.nn.functional.cross_entropy(logits, LABELS)
    gradients = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
    return logits.detach(), {
        name: torch.zeros_like(item) if gradient is None else gradient
        for (name, item), gradient in zip(trained.items(), gradients, strict=True)
    }


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "full"])
def test_logits_and_gradients_stay_as_they_were(checkpoint: Checkpoint, architecture: str, lora: bool) -> None:
    base = prepared(checkpoint(architecture), lora=lora)
    logits, gradients = run(base)
    with reading_first_token(base.network):
        narrowed, others = run(base)
    torch.testing.assert_close(narrowed, logits, atol=1e-6, rtol=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, atol=1e-6, rtol=1e-4)


def test_where_an_architecture_is_narrowed_its_last_layer_gives_one_token(
    checkpoint: Checkpoint, architecture: str
) -> None:
    base = prepared(checkpoint(architecture), lora=False)
    lengths = []

    def note(_module: torch.nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        lengths.append((output if isinstance(output, torch.Tensor) else output[0]).shape[1])

    last = base.network.get_submodule(find_blocks(base.network)[-1])
    with reading_first_token(base.network) as narrowed:
        hook = last.register_forward_hook(note)
        run(base)
    hook.remove()
    assert narrowed == (FAMILIES[base.config.model_type].after_attention is not None)
    assert (lengths[-1] == 1) == narrowed


def test_after_the_block_all_tokens_are_computed_again(checkpoint: Checkpoint) -> None:
    base = prepared(checkpoint("bert"), lora=False)
    with reading_first_token(base.network):
        pass
    ids = torch.tensor([[2, 7, 8, 3]])
    assert base.network.bert(input_ids=ids).last_hidden_state.shape[1] == 4
