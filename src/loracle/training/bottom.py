"""The frozen bottom of a network: which of its first layers it is, and how the network runs without them.

Where the embeddings and the first layers hold nothing that is trained, and dropout is off, what leaves the last of
those layers depends on the text alone. Then the layers below need only pass on what they are given, and the last of
them hand back what it gave before. They are wrapped as they are, whatever the architecture: what is frozen is read from
the graph of one pass, and whether the network can do without its bottom is tried on a few texts. `states.py` keeps
what the bottom gives.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from loracle.lora.injection import is_inside
from loracle.models.freezing import find_blocks
from loracle.training.batching import Tokens
from loracle.training.precision import ComputePath
from loracle.training.wrapping import replacing_forwards

ALL, FIRST, LAST = "all", "first", "last"
"""Which tokens of a text are read above the bottom: above the last layer a head may read one alone."""

_TEXTS_TRIED = 4
_SAME = {"fp32": 1e-4, "bf16": 3e-2}  # the least difference that tells, as a share of the largest value


def find_bottom(network: nn.Module, tokens: Tokens, path: ComputePath) -> FrozenBottom | None:
    """Return the frozen bottom of a network that is on its device and in evaluation mode.

    None where there is none, and where a few of the texts show that the network gives something else without it.
    """
    names = find_blocks(network)
    if not names or any(parameter.requires_grad for parameter in network.get_submodule(names[0]).parameters()):
        return None  # without a pass
    rows = choose_few(tokens)
    ids, mask = (tensor.to(path.device) for tensor in tokens.pad_batch(rows))
    with path.autocast():
        seen = _watch(network, ids, mask)
    count = len(seen.wraps)
    if not count:
        return None
    layers = tuple(network.get_submodule(name) for name in names[:count])
    whole = FrozenBottom(network, layers, tuple(seen.wraps), path, above=seen.entered_above)
    reads = (whole.find_reads(ids, mask, seen.below), ALL) if count == len(names) else (ALL,)
    candidates = (replace(whole, reads=read) for read in dict.fromkeys(reads))
    return next((bottom for bottom in candidates if bottom.is_enough(tokens, rows, seen)), None)


def count_frozen_blocks(network: nn.Module, ids: Tensor, mask: Tensor) -> int:
    """Return how many of the first layers give for a text what no training changes; one pass over the batch tells.

    A layer counts where it and all before it run once, return the states of all tokens and no other tensor, and nothing
    that is trained is behind these.
    """
    return len(_watch(network, ids, mask).wraps)


def choose_few(tokens: Tokens) -> np.ndarray:
    """Return the rows of a few texts to try something on, the shortest and the longest among them."""
    by_length = np.argsort(tokens.lengths, kind="stable")
    return np.unique(by_length[np.linspace(0, len(tokens) - 1, _TEXTS_TRIED).astype(int)])


def is_close(first: Tensor, second: Tensor, share: float) -> bool:
    """Say whether tensors of one shape differ by this share of the largest value at most, all values being numbers."""
    difference = (first.float() - second.float()).abs().max()
    return bool(difference <= share * first.float().abs().max())


@dataclass(frozen=True)
class FrozenBottom:
    """The first layers of a network, and how each wraps the states that it returns.

    `above` names the modules that come after them alone, and `reads` says which tokens matter there.
    """

    network: nn.Module
    layers: tuple[nn.Module, ...]
    wraps: tuple[int | None, ...]  # alone, or first in a tuple with so many times None
    path: ComputePath
    above: tuple[str, ...] = ()
    reads: str = ALL

    def choose(self, tokens: Tokens) -> Tokens:
        """Return the tokens that the network is fed with: all, or of each text the one that is read."""
        if self.reads == ALL:
            return tokens
        places = tokens.starts[:-1] if self.reads == FIRST else tokens.starts[1:] - 1
        return Tokens(tokens.flat[places], np.arange(len(tokens) + 1), tokens.pad)

    @contextmanager
    def feeding(self) -> Iterator[deque[Tensor]]:
        """Step over the bottom within the block: each pass takes the first of the states that are waiting.

        They are (texts, longest of them, width), zero where a text is padded.
        """
        waiting: deque[Tensor] = deque()
        forwards = {layer: partial(_pass_on, wrap) for layer, wrap in zip(self.layers, self.wraps, strict=True)}
        forwards[self.layers[-1]] = partial(_hand_back, waiting, self.wraps[-1])
        with replacing_forwards(forwards):
            yield waiting

    @torch.inference_mode()
    def compute(self, tokens: Tokens, rows: np.ndarray) -> list[Tensor]:
        """Return what leaves the bottom for these texts, on the CPU, of each (tokens that are read, width)."""
        ids, mask = (tensor.to(self.path.device) for tensor in tokens.pad_batch(rows))
        returned: list[Tensor] = []

        def stop(_layer: nn.Module, _given: Any, output: Any) -> None:
            returned.append(output[0] if isinstance(output, tuple) else output)
            raise _ReachedError

        hook = self.layers[-1].register_forward_hook(stop)
        try:
            with suppress(_ReachedError), self.path.autocast():
                self.network(input_ids=ids, attention_mask=mask)
        finally:
            hook.remove()
        return self._cut(returned[0].cpu(), tokens.lengths[rows])

    def find_reads(self, ids: Tensor, mask: Tensor, states: Tensor) -> str:
        """Return which tokens of the texts are read above the bottom: those whose states have a gradient."""
        states = states.clone().requires_grad_()
        try:
            with torch.enable_grad(), self.feeding() as waiting, self.path.autocast():
                waiting.append(states)
                logits = self.network(input_ids=ids, attention_mask=mask).logits
            weights = torch.linspace(1, 2, logits.shape[-1], device=logits.device)
            (gradient,) = torch.autograd.grad((logits.float() * weights).sum(), states)
        except RuntimeError:
            return ALL
        read = gradient.abs().sum(-1) > 0
        places = torch.arange(read.shape[1], device=read.device)
        if torch.equal(read, (places == 0).expand_as(read)):
            return FIRST
        return LAST if torch.equal(read, places == mask.sum(1, keepdim=True) - 1) else ALL

    def is_enough(self, tokens: Tokens, rows: np.ndarray, seen: _Pass) -> bool:
        """Say whether the network gives for these texts what it gave when its bottom was computed."""
        ids, mask = (tensor.to(self.path.device) for tensor in self.choose(tokens).pad_batch(rows))
        try:
            with self.feeding() as waiting, self.path.autocast():
                waiting.append(pad_sequence(self._cut(seen.below, tokens.lengths[rows]), batch_first=True))
                fed = _watch(self.network, ids, mask)
            real = mask > 0
            pairs = [(one[real], other[real]) for one, other in zip(seen.above, fed.above, strict=True)]
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError):
            return False
        pairs.append((seen.logits, fed.logits))
        return all(is_close(one, other, _SAME[self.path.precision]) for one, other in pairs)

    @cached_property
    def identity(self) -> str:
        """A hash of what the states depend on besides the texts: all that is frozen and not above, and the path."""
        digest = hashlib.sha256(f"{self.path} {self.reads} {len(self.layers)} ".encode())
        for name, tensor in (*self.network.named_parameters(), *self.network.named_buffers()):
            if not tensor.requires_grad and not is_inside(name, self.above):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
                digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _cut(self, states: Tensor, lengths: np.ndarray) -> list[Tensor]:
        """Return of each text the states that are read, without those of padding."""
        stops = np.ones_like(lengths) if self.reads == FIRST else lengths
        starts = lengths - 1 if self.reads == LAST else np.zeros_like(lengths)
        return [own[start:stop] for own, start, stop in zip(states, starts, stops, strict=True)]


@dataclass(frozen=True)
class _Pass:
    """What one pass gave: the logits, the states that left each layer, how the frozen ones wrapped them, and the names
    of the modules in the order in which they were called, with how many it were when each layer was done.
    """

    logits: Tensor
    states: list[Tensor]
    wraps: list[int | None]
    entered: list[str]
    done: list[int]

    @property
    def below(self) -> Tensor:
        """The states that left the last frozen layer."""
        return self.states[len(self.wraps) - 1]

    @property
    def above(self) -> list[Tensor]:
        """The states that left each of the others."""
        return self.states[len(self.wraps) :]

    @property
    def entered_above(self) -> tuple[str, ...]:
        """The modules that were called after the last frozen layer and not before."""
        end = self.done[len(self.wraps) - 1]
        return tuple(sorted(set(self.entered[end:]) - set(self.entered[:end])))


class _ReachedError(Exception):
    """Ends a pass behind the last frozen layer."""


def _watch(network: nn.Module, ids: Tensor, mask: Tensor) -> _Pass:
    """Run the network with a graph, in which what is trained leaves its trace."""
    layers = [network.get_submodule(name) for name in find_blocks(network)]
    outputs: list[Any] = []
    entered: list[str] = []
    done: list[int] = []
    order: list[int] = []

    def enter(name: str, _module: nn.Module, _given: Any) -> None:
        entered.append(name)

    def leave(place: int, _layer: nn.Module, _given: Any, output: Any) -> None:
        outputs.append(output)
        order.append(place)
        done.append(len(entered))

    hooks = [module.register_forward_pre_hook(partial(enter, name)) for name, module in network.named_modules()]
    hooks += [layer.register_forward_hook(partial(leave, place)) for place, layer in enumerate(layers)]
    try:
        with torch.enable_grad():
            logits = network(input_ids=ids, attention_mask=mask).logits
    finally:
        for hook in hooks:
            hook.remove()
    found = list(_unwrap(outputs, ids)) if order == list(range(len(layers))) else []
    wraps = [wrap for _, wrap in takewhile(lambda item: not item[0].requires_grad, found)]
    return _Pass(logits.detach(), [states.detach() for states, _ in found], wraps, entered, done)


def _unwrap(outputs: Iterable[Any], ids: Tensor) -> Iterator[tuple[Tensor, int | None]]:
    """Yield the states of all tokens that each layer returned and how it wrapped them; end where one gave more."""
    for output in outputs:
        states, *others = output if isinstance(output, tuple) and output else (output,)
        if not isinstance(states, Tensor) or states.ndim != 3 or states.shape[:2] != ids.shape:
            return
        if any(item is not None for item in others):
            return
        yield states, len(others) if isinstance(output, tuple) else None


def _pass_on(wrap: int | None, *given: Any, **named: Any) -> Any:
    """Take a layer's place: return the states that it was given."""
    states = given[0] if given else named["hidden_states"]
    return states if wrap is None else (states, *[None] * wrap)


def _hand_back(waiting: deque[Tensor], wrap: int | None, *given: Any, **named: Any) -> Any:
    """Take a layer's place: return the states that wait for this batch, in the shape of those that it was given."""
    entering = given[0] if given else named["hidden_states"]
    states = waiting.popleft()
    if states.shape[:2] != entering.shape[:2]:
        raise RuntimeError(f"states {tuple(states.shape)} wait for a batch {tuple(entering.shape)}: another one is due")
    return _pass_on(wrap, states.to(entering.device))
