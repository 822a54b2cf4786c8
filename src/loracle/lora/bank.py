"""Many adapters on one frozen base in one pass: the base is read once, and each text goes through its own adapter.

A bank is built around networks that LoRA was injected into, and shares their parameters: what is trained in the bank is
trained in them, and each is saved and used alone as before. The texts of a batch are told apart by their order, first
those of the first network; `route` says how many each has.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from loracle.errors import ModelError
from loracle.lora.injection import is_inside, lora_layers
from loracle.lora.layer import LoRALinear


class Routing:
    """How many texts of the batch each adapter has, in order; all layers of a bank read the same one."""

    sizes: tuple[int, ...] = ()

    def rows(self, x: Tensor) -> list[int]:
        """Return how many rows of x (texts, ..., features) each adapter has; ModelError where texts are left over."""
        if len(x) != sum(self.sizes):
            raise ModelError(f"the batch has {len(x)} texts, the bank was told of {sum(self.sizes)}; call route first")
        of_a_text = x[0].numel() // x.shape[-1] if len(x) else 1
        return [size * of_a_text for size in self.sizes]


class BankLinear(nn.Module):
    """A frozen linear layer with the low-rank updates of several `LoRALinear` around it.

    Shapes: x (texts, ..., in_features) -> (texts, ..., out_features). Smaller ranks are filled up with zeros.
    """

    def __init__(self, layers: Sequence[LoRALinear], routing: Routing) -> None:
        super().__init__()
        self.base = layers[0].base
        self.layers = tuple(layers)  # whose parameters stay those of their own networks
        self.routing = routing

    def forward(self, x: Tensor) -> Tensor:
        """Return base(x), and to each text's rows its own scaling * (x A^T) B^T added."""
        out: Tensor = self.base(x)
        down = pad_sequence([layer.lora_a for layer in self.layers], batch_first=True)
        up = pad_sequence([layer.lora_b.T * layer.config.scaling for layer in self.layers], batch_first=True)
        sizes, rows = self.routing.rows(x), x.to(out.dtype).flatten(0, -2)
        low = each_by_its_own(rows, down.mT.to(out.dtype), sizes)
        return out + each_by_its_own(low, up.to(out.dtype), sizes).view_as(out)


class BankHead(nn.Module):
    """Several whole linear layers, of which each text goes through its own."""

    def __init__(self, layers: Sequence[nn.Linear], routing: Routing) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.routing = routing

    def forward(self, x: Tensor) -> Tensor:
        """Return of each text what its own layer gives; shapes as of a linear layer."""
        weights = torch.stack([layer.weight.T for layer in self.layers])
        sizes = self.routing.rows(x)
        out = each_by_its_own(x.flatten(0, -2), weights.to(x.dtype), sizes)
        if self.layers[0].bias is not None:
            biases = [layer.bias.expand(size, -1) for layer, size in zip(self.layers, sizes, strict=True)]
            out = out + torch.cat(biases)
        return out.view(*x.shape[:-1], out.shape[-1])


def each_by_its_own(rows: Tensor, matrices: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the rows (sum of sizes, in) of each group times the group's matrix, of (groups, in, out)."""
    if len(set(sizes)) == 1:
        return torch.bmm(rows.view(len(sizes), sizes[0], -1), matrices).flatten(0, 1)
    return torch.cat([part @ matrix for part, matrix in zip(torch.split(rows, list(sizes)), matrices, strict=True)])


def build_bank(networks: Sequence[nn.Module], *, head: Sequence[str]) -> nn.Module:
    """Return one network that computes what each of these does, for texts that are told apart by their order.

    They are the same network with LoRA at the same layers; rank, alpha and weights may differ. `head` names the modules
    that are each one's own. The frozen weights of the first are from now on those of all. Raises ModelError where they
    have LoRA at different layers, an update is not LoRA's own sum, or a head is more than linear layers.
    """
    names = [name for name, _ in lora_layers(networks[0])]
    if not names or any([name for name, _ in lora_layers(network)] != names for network in networks):
        raise ModelError("the networks of a bank need LoRA layers, and the same ones in each")
    for network in networks:
        _check_layers(network)
    share_frozen(networks)
    linear = list(_find_head_layers(networks[0], head))
    shared = {id(item): item for item in (*networks[0].parameters(), *networks[0].buffers())}
    bank, routing = copy.deepcopy(networks[0], shared), Routing()
    for name in names:
        bank.set_submodule(name, BankLinear([_lora(network, name) for network in networks], routing), strict=True)
    for name in linear:
        bank.set_submodule(name, BankHead([_linear(network, name) for network in networks], routing), strict=True)
    return bank


def route(bank: nn.Module, sizes: Sequence[int]) -> None:
    """Say how many texts of the next batch each adapter has, in order; 0 for one that has none."""
    routing = next(module.routing for module in bank.modules() if isinstance(module, BankLinear))
    routing.sizes = tuple(sizes)


def share_frozen(networks: Sequence[nn.Module]) -> None:
    """Let all networks read the frozen parameters of the first, so that they are held once."""
    frozen = {name: item for name, item in networks[0].named_parameters() if not _is_own(networks[0], name, item)}
    for network in networks[1:]:
        for name, parameter in frozen.items():
            place, _, own = name.rpartition(".")
            network.get_submodule(place)._parameters[own] = parameter


def _is_own(network: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    """Say whether a parameter is a network's own: trained, or a frozen part of its adapter."""
    return parameter.requires_grad or isinstance(network.get_submodule(name.rpartition(".")[0]), LoRALinear)


def _check_layers(network: nn.Module) -> None:
    for name, layer in lora_layers(network):
        if type(layer) is not LoRALinear or layer.config.dropout or layer.config.rank_dropout:
            raise ModelError(f"{name} is no plain LoRA layer without dropout; only these can share a bank")


def _find_head_layers(network: nn.Module, head: Sequence[str]) -> Iterator[str]:
    """Yield the names of the head's linear layers; ModelError where it has parameters of another kind."""
    for name, module in network.named_modules():
        if is_inside(name, head) and list(module.parameters(recurse=False)):
            if type(module) is not nn.Linear:
                raise ModelError(f"the head's {name} is a {type(module).__name__}; a bank takes linear layers alone")
            yield name


def _lora(network: nn.Module, name: str) -> LoRALinear:
    layer = network.get_submodule(name)
    assert isinstance(layer, LoRALinear)
    return layer


def _linear(network: nn.Module, name: str) -> nn.Linear:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer
