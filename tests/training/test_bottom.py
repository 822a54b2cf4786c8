"""A network without its frozen bottom gives what it gave with it, in every architecture where that can be."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_layers, match_targets
from loracle.models.families import default_targets, reads_last_token
from loracle.models.freezing import find_blocks, train_biases, train_head, train_upper_layers
from loracle.models.loading import Base, load_base
from loracle.training.batching import Tokens, tokenise
from loracle.training.bottom import ALL, FIRST, LAST, FrozenBottom, count_frozen_blocks, find_bottom
from loracle.training.fitting import set_training_mode
from loracle.training.precision import ComputePath
from loracle.training.recomputation import recomputing

Checkpoint = Callable[[str], Path]
PATH = ComputePath("cpu", "fp32", "eager")
BF16 = ComputePath("cpu", "bf16", "eager")
LABELS = ("bad", "good", "so-so")
TEXTS = [
    "late again",
    "the parcel was never answered and nobody was friendly, rude and broken, and my order was late again and again",
    "",
    "thanks",
    "a lovely friendly thanks for my order",
]
ROWS = np.arange(len(TEXTS))
SHARED = ("albert",)
TRAINED_BELOW = ("electra", "deberta", "deberta-v2", "deberta-v3", "mpnet", "gpt2")
"""Where `partial` trains what feeds its frozen layers: positions, a projection, or distances that all layers share."""


def train_last_layer_by_lora(base: Base) -> None:
    targets = match_targets(base.network, default_targets(base.config.model_type), head=base.head)
    last = find_blocks(base.network)[-1]
    own = tuple(name for name in targets if name.startswith(f"{last}."))
    inject(base.network, LoRAConfig(rank=4, targets=own), head=base.head)
    for _, layer in lora_layers(base.network):
        nn.init.normal_(layer.lora_b, std=0.2)


WAYS = {
    "partial": lambda base: train_upper_layers(base, 1),
    "head": train_head,
    "lora": train_last_layer_by_lora,
}


def load(folder: Path, way: str) -> Base:
    torch.manual_seed(0)
    base = load_base(str(folder), LABELS, attention="eager")
    WAYS[way](base)
    base.network.eval()
    return base


def tokens_of(base: Base) -> Tokens:
    return tokenise(base.tokenizer, TEXTS, 48)


def run(base: Base, ids: Tensor, mask: Tensor, path: ComputePath = PATH) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the logits of a batch and the gradient of everything trainable."""
    base.network.zero_grad()
    set_training_mode(base.network, base_dropout=False)
    with path.autocast():
        logits = base.network(input_ids=ids, attention_mask=mask).logits
    nn.functional.cross_entropy(logits.float(), torch.arange(len(ids)) % len(LABELS)).backward()
    found = {name: item.grad.clone() for name, item in base.network.named_parameters() if item.grad is not None}
    return logits.detach(), found


def run_fed(base: Base, bottom: FrozenBottom, tokens: Tokens) -> tuple[Tensor, dict[str, Tensor]]:
    states = [item.clone() for item in bottom.compute(tokens, ROWS)]  # of the same batch
    with bottom.feeding() as waiting:
        waiting.append(pad_sequence(states, batch_first=True))
        return run(base, *bottom.choose(tokens).pad_batch(ROWS), bottom.path)


@pytest.mark.parametrize("way", WAYS)
def test_logits_and_gradients_are_the_same_without_the_bottom(
    checkpoint: Checkpoint, architecture: str, way: str
) -> None:
    if architecture in SHARED and way == "partial":
        pytest.skip("partial has no layers to freeze here")
    base = load(checkpoint(architecture), way)
    tokens, layers = tokens_of(base), len(find_blocks(base.network))
    frozen = count_frozen_blocks(base.network, *tokens.pad_batch(ROWS))
    bottom = find_bottom(base.network, tokens, PATH)
    if architecture in SHARED or (way == "partial" and architecture in TRAINED_BELOW):
        assert (frozen, bottom) == (0, None)
        return
    assert bottom is not None
    assert len(bottom.layers) == frozen == {"partial": 1, "head": layers, "lora": layers - 1}[way]
    ones = LAST if reads_last_token(base.config.model_type) else FIRST
    assert bottom.reads == (ones if way == "head" else ALL)
    logits, gradients = run(base, *tokens.pad_batch(ROWS))
    fed_logits, fed_gradients = run_fed(base, bottom, tokens)
    shape_is_another = bottom.reads == LAST
    torch.testing.assert_close(fed_logits, logits, rtol=0, atol=1e-5 if shape_is_another else 0)
    assert fed_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(fed_gradients[name], gradient, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("architecture", ["bert", "llama", "gemma2"])
@pytest.mark.parametrize("way", WAYS)
def test_bf16_states_are_kept_as_they_are(checkpoint: Checkpoint, architecture: str, way: str) -> None:
    base = load(checkpoint(architecture), way)
    tokens = tokens_of(base)
    bottom = find_bottom(base.network, tokens, BF16)
    assert bottom is not None
    logits, gradients = run(base, *tokens.pad_batch(ROWS), BF16)
    fed_logits, fed_gradients = run_fed(base, bottom, tokens)
    torch.testing.assert_close(fed_logits, logits, rtol=0.02, atol=0.02)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fed_gradients[name], gradient, rtol=0.05, atol=0.02, msg=name)


def test_texts_in_other_batches_differ_by_rounding_alone(checkpoint: Checkpoint, architecture: str) -> None:
    base = load(checkpoint(architecture), "head")
    tokens = tokens_of(base)
    bottom = find_bottom(base.network, tokens, PATH)
    if bottom is None:
        assert architecture in SHARED
        return
    together = bottom.compute(tokens, ROWS)
    for row, states in zip(ROWS, together, strict=True):
        (alone,) = bottom.compute(tokens, np.array([row]))
        torch.testing.assert_close(alone, states, rtol=1e-5, atol=1e-5)


def test_layers_are_their_own_again_after_an_error(tiny_base: Path) -> None:
    base = load(tiny_base, "partial")
    bottom = find_bottom(base.network, tokens_of(base), PATH)
    assert bottom is not None

    def fail() -> None:
        with bottom.feeding():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not any("forward" in vars(module) for module in base.network.modules())
    with recomputing(base.network):
        before = [vars(layer)["forward"] for layer in bottom.layers]
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert [vars(layer)["forward"] for layer in bottom.layers] == before


def test_states_of_another_batch_are_refused(tiny_base: Path) -> None:
    base = load(tiny_base, "partial")
    tokens = tokens_of(base)
    bottom = find_bottom(base.network, tokens, PATH)
    assert bottom is not None
    ids, mask = tokens.pad_batch(ROWS)
    with bottom.feeding() as waiting:
        waiting.append(torch.zeros(2, 9, 32))
        with pytest.raises(RuntimeError, match="another one is due"):
            base.network(input_ids=ids, attention_mask=mask)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda base: train_upper_layers(base, 1, train_embeddings=True),
        lambda base: train_upper_layers(base, 0),
        train_biases,
        lambda base: inject(base.network, LoRAConfig(targets=("query",)), head=base.head),
    ],
    ids=["embeddings", "all layers", "biases", "lora"],
)
def test_what_is_trained_below_leaves_no_bottom(tiny_base: Path, prepare: Callable[[Base], object]) -> None:
    base = load_base(str(tiny_base), LABELS, attention="eager")
    prepare(base)
    base.network.eval()
    assert find_bottom(base.network, tokens_of(base), PATH) is None
    assert count_frozen_blocks(base.network, *tokens_of(base).pad_batch(ROWS)) == 0


class Stack(nn.Module):
    """Three layers; `way` says what is odd about them."""

    def __init__(self, way: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.words = nn.Embedding(300, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.top = nn.Linear(8, 3)
        self.requires_grad_(False)
        self.top.requires_grad_(True)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        order = (1, 0, 2) if self.way == "other order" else (0, 1, 2, 2) if self.way == "twice" else (0, 1, 2)
        states = [self.words(input_ids)]
        for place in order:
            states.append(self.layers[place](states[-1]).tanh() + states[0])
        weights = attention_mask[..., None].float()
        if self.way == "skips":
            states.append(states[-1] + states[1])
        read = states[-1][:, 0] if self.way == "first" else (states[-1] * weights).sum(1) / weights.sum(1)
        return SimpleNamespace(logits=self.top(read))


@pytest.mark.parametrize(("way", "reads"), [("plain", ALL), ("first", FIRST), ("skips", None), ("twice", None)])
def test_network_that_needs_its_bottom_is_told_by_trying(way: str, reads: str | None) -> None:
    network, tokens = Stack(way).eval(), Tokens(np.arange(30), np.array([0, 5, 20, 30]), pad=0)
    bottom = find_bottom(network, tokens, PATH)
    assert (bottom and bottom.reads) == reads


def test_layers_that_run_in_another_order_are_left_alone() -> None:
    network, tokens = Stack("other order").eval(), Tokens(np.arange(30), np.array([0, 5, 20, 30]), pad=0)
    assert find_bottom(network, tokens, PATH) is None


def test_identity_is_that_of_the_frozen_weights_alone(tiny_base: Path) -> None:
    def identify(base: Base) -> str:
        bottom = find_bottom(base.network, tokens_of(base), PATH)
        assert bottom is not None
        return bottom.identity

    def changed(name: str) -> str:
        base = load(tiny_base, "partial")
        with torch.no_grad():
            base.network.get_parameter(name).view(-1)[-1] += 1
        return identify(base)

    usual = identify(load(tiny_base, "partial"))
    above = ("classifier.weight", "bert.encoder.layer.1.output.dense.weight")
    below = ("bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.output.dense.bias")
    assert [changed(name) == usual for name in (*above, *below)] == [True, True, False, False]
    assert identify(load(tiny_base, "head")) != usual
