"""A frozen base held in 8 or 4 bits: less memory for its weights, for a little of what they say.

    int8   each row of a weight as whole numbers from -127 to 127 and one scale (Dettmers et al., 2022, "LLM.int8()")
    nf4    blocks of 64 weights as 16 quantiles of a normal distribution and one scale (Dettmers et al., 2023, "QLoRA")

bitsandbytes turns weights into codes and back, on a CPU and on a GPU. The weight alone is quantised: a layer computes
in the precision of what enters it, in training as in scoring. Quantise after LoRA was injected, never before.
"""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loracle.errors import ConfigError
from loracle.lora.injection import is_inside
from loracle.lora.linear import compute_dtype
from loracle.models.networks import check_base_precision

_LIBRARY = "bitsandbytes"
_INT8, _NF4 = "int8", "nf4"
_BLOCK = 64  # weights that share a scale, as in QLoRA


class QuantisedLinear(nn.Module):
    """A frozen linear layer whose weight is held as codes and scales; the bias stays as it is.

    Shapes: x (..., in_features) -> (..., out_features). The gradient reaches x; the weight has none.
    """

    codes: Tensor  # int8 (out_features, in_features), or uint8 with two weights a byte
    scales: Tensor  # float32, one a row or one a block

    def __init__(self, base: nn.Linear, precision: str) -> None:
        super().__init__()
        self.in_features, self.out_features, self.precision = base.in_features, base.out_features, precision
        codes, scales = _encode(base.weight.detach(), precision)
        self.register_buffer("codes", codes.to(base.weight.device))
        self.register_buffer("scales", scales.to(base.weight.device))
        self.bias = base.bias
        self.requires_grad_(False).train(base.training)

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + bias, in the precision of x, or that of autocast."""
        # Of more dimensions it would return a view, not to be added to.
        rows = x.to(compute_dtype(x)).reshape(-1, self.in_features)
        product: Tensor = _Product.apply(rows, self)  # type: ignore[no-untyped-call]
        return product.view(*x.shape[:-1], self.out_features)

    @property
    def weight(self) -> Tensor:
        """What the codes mean, float32 (out_features, in_features); made anew at each call."""
        return self.decode(torch.float32)

    @property
    def weight_parameters(self) -> int:
        """How many weights the codes stand for."""
        return self.in_features * self.out_features

    @property
    def weight_bytes(self) -> int:
        """The bytes of codes and scales."""
        return self.codes.nbytes + self.scales.nbytes

    def decode(self, dtype: torch.dtype) -> Tensor:
        """Return the weight that the codes mean, (out_features, in_features), in a precision."""
        if self.precision == _INT8:
            return self.codes.to(dtype) * (self.scales / 127).to(dtype).unsqueeze(1)
        functions, shape = import_library(), torch.Size((self.out_features, self.in_features))
        state = functions.QuantState(self.scales, shape, blocksize=_BLOCK, quant_type=_NF4, dtype=dtype)
        decoded: Tensor = functions.dequantize_4bit(self.codes, state)
        return decoded

    def extra_repr(self) -> str:
        """Return the sizes and the precision for `print(model)`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, precision={self.precision}"


def quantise(network: nn.Module, precision: str, *, keep: Sequence[str] = ()) -> tuple[int, int]:
    """Hold every frozen linear layer outside the modules named in `keep` in 8 or 4 bits; "full" changes nothing.

    What is trained is left as it is, and so is what a network's `brought_modules()` names, where it has such a method:
    that is an adapter's and saved whole, even where it is frozen. The same weights give the same codes, on every
    machine. Returns the bytes of the frozen part before and after. Raises ConfigError for an unknown precision, where
    there is no such layer, and where bitsandbytes is not installed.
    """
    check_base_precision(precision)
    before = frozen_bytes(network, keep)
    if precision == "full":
        return before, before
    check_library()
    whole = [*keep, *getattr(network, "brought_modules", tuple)()]
    layers = {name: module for name, module in network.named_modules() if _is_frozen_linear(name, module, whole)}
    if not layers:
        raise ConfigError(f"this base has no frozen linear layer to hold in {precision}; leave --base-precision out")
    for name, layer in layers.items():
        network.set_submodule(name, QuantisedLinear(layer, precision), strict=True)
    return before, frozen_bytes(network, keep)


def quantised_layers(network: nn.Module) -> Iterator[tuple[str, QuantisedLinear]]:
    """Yield the dotted name and the layer of every `QuantisedLinear`."""
    for name, module in network.named_modules():
        if isinstance(module, QuantisedLinear):
            yield name, module


def frozen_bytes(network: nn.Module, keep: Sequence[str] = ()) -> int:
    """Return the bytes that the weights take which are neither trained nor inside the modules named in `keep`."""
    plain = sum(
        parameter.nbytes
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad and not is_inside(name, keep)
    )
    return plain + sum(layer.weight_bytes for _, layer in quantised_layers(network))


def check_library() -> None:
    """Raise ConfigError where bitsandbytes is not installed."""
    if importlib.util.find_spec(_LIBRARY) is None:
        raise ConfigError("a base in int8 or nf4 needs bitsandbytes; `pip install 'loracle[quantised]'` brings it")


@functools.cache
def import_library() -> Any:
    """Return bitsandbytes' functions, imported once and quietly: it warns of an optional kernel that is not used here.

    Raises ConfigError where it is not installed.
    """
    check_library()
    logger = logging.getLogger(_LIBRARY)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        from bitsandbytes import functional
    finally:
        logger.setLevel(level)
    return functional


class _Product(torch.autograd.Function):
    """x W^T + bias for x (rows, in_features).

    The decoded weight is not kept for the backward pass, which would hold the whole base again.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantisedLinear) -> Tensor:
        ctx.layer = layer
        bias = None if layer.bias is None else layer.bias.to(x.dtype)
        return F.linear(x, layer.decode(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.layer.decode(gradients[0].dtype), None


def _encode(weight: Tensor, precision: str) -> tuple[Tensor, Tensor]:
    """Return codes and scales, computed in float32 on the CPU, so that no device makes other codes."""
    weight = weight.float().cpu().contiguous()
    if precision == _INT8:
        codes, scales, _ = import_library().int8_vectorwise_quant(weight)
        return codes, scales
    codes, state = import_library().quantize_4bit(weight, blocksize=_BLOCK, quant_type=_NF4)
    return codes, state.absmax


def _is_frozen_linear(name: str, module: nn.Module, keep: Sequence[str]) -> bool:
    trained = any(parameter.requires_grad for parameter in module.parameters())
    return type(module) is nn.Linear and not trained and not is_inside(name, keep)  # a subclass may skip its forward
