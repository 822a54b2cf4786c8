"""Count the bytes that tensors hold while a network is trained, by what they are for, without computing anything.

Under PyTorch's fake tensors every operation gives a result with a shape, a type and a device, and with no memory
behind it. What is counted here is therefore what the same code would allocate on the device.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

WEIGHTS, GRADIENTS, OPTIMISER, KEPT, ACTIVATIONS = "weights", "gradients", "optimiser", "kept", "activations"
PARTS = (WEIGHTS, GRADIENTS, OPTIMISER, KEPT, ACTIVATIONS)
"""What bytes are for: `kept` is the copy of the best epoch's weights, `activations` what is in none of the others."""
_STAYING = (OPTIMISER, KEPT)
_PASSING = (WEIGHTS, GRADIENTS, ACTIVATIONS)

_GPU_BLOCK = 512  # bytes: what PyTorch's allocator on a GPU rounds up to
_MADE_UP = 1.0  # the value of every number that leaves a fake tensor
_ATEN = torch.ops.aten
_VIEWS = {_ATEN.detach.default, _ATEN.view.default, _ATEN.t.default, _ATEN.transpose.int}


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes of all storages that are alive, by part, and remember the counts at the largest sum of those that
    come and go. What stays once it is there, the optimiser's state and kept weights, is told by the most that it was.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = dict.fromkeys(PARTS, 0)
        self.peak = dict(self.now)
        self.part = ACTIVATIONS
        self._largest = 0
        self._parts: dict[int, str] = {}

    def hold(self, tensor: Tensor, part: str) -> None:
        """Count a tensor's storage in this part, whatever it was counted in so far."""
        storage = tensor.untyped_storage()
        self._count(storage, part)
        size, earlier = _allocated(storage), self._parts[id(storage)]
        self._parts[id(storage)] = part
        self.now[earlier] -= size
        self.now[part] += size

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].fake_device  # two of three calls ask this, and the way through all modes is long
        if func is _ATEN._local_scalar_dense.default:
            return _MADE_UP
        result = func(*args, **(kwargs or {}))
        if func not in _VIEWS:
            part = KEPT if func is _ATEN.clone.default and self._is(args[0], WEIGHTS) else self.part
            for item in result if isinstance(result, list | tuple) else (result,):
                if isinstance(item, Tensor):
                    self._count(item.untyped_storage(), part)
        return result

    def _is(self, tensor: Tensor, part: str) -> bool:
        return self._parts.get(id(tensor.untyped_storage())) == part

    def _count(self, storage: Any, part: str) -> None:
        key = id(storage)
        if key in self._parts:
            return
        size = _allocated(storage)
        self._parts[key] = part
        self.now[part] += size
        self._remember(part)
        weakref.finalize(storage, self._release, key, size).atexit = False

    def _remember(self, grown: str) -> None:
        if grown in _STAYING:
            self.peak[grown] = max(self.peak[grown], self.now[grown])
            return
        passing = sum(self.now[part] for part in _PASSING)
        if passing > self._largest:
            self._largest = passing
            self.peak.update({part: self.now[part] for part in _PASSING})

    def _release(self, key: int, size: int) -> None:
        self.now[self._parts.pop(key)] -= size


class _MadeUpNumbers(TorchFunctionMode):
    """Give NumPy arrays of the right shape where fake tensors are asked for their values."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.numpy and isinstance(args[0], FakeTensor):
            return np.full(tuple(args[0].shape), _MADE_UP / args[0].shape[-1], np.float32)
        return func(*args, **(kwargs or {}))


@contextmanager
def faking(network: nn.Module, device: str) -> Iterator[LiveBytes]:
    """Turn a network on the meta device into one of fake tensors on `device`, and count what the block allocates.

    The network is of no use after the block.
    """
    live = LiveBytes()
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(live)
        stack.enter_context(_MadeUpNumbers())
        stack.callback(register_optimizer_step_pre_hook(lambda *_: setattr(live, "part", OPTIMISER)).remove)
        stack.callback(register_optimizer_step_post_hook(lambda *_: setattr(live, "part", ACTIVATIONS)).remove)
        _place(network, device, live)
        yield live


def _place(network: nn.Module, device: str, live: LiveBytes) -> None:
    """Give every parameter and buffer a fake storage on the device; what is shared stays shared."""
    placed: dict[int, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                if id(parameter) not in placed:
                    placed[id(parameter)] = _faked(parameter, device, live)
                module._parameters[name] = placed[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                faked = torch.empty_like(buffer, device=device)
                live.hold(faked, WEIGHTS)
                module._buffers[name] = faked
    network._apply = lambda *_: network  # type: ignore[method-assign]  # it is where it should be


def _faked(parameter: nn.Parameter, device: str, live: LiveBytes) -> nn.Parameter:
    faked = nn.Parameter(torch.empty_like(parameter, device=device), requires_grad=parameter.requires_grad)
    live.hold(faked, WEIGHTS)
    if faked.requires_grad:
        faked.register_post_accumulate_grad_hook(lambda item: live.hold(item.grad, GRADIENTS))  # type: ignore[no-untyped-call]
    return faked


def _allocated(storage: Any) -> int:
    """Return what the device's allocator takes for a storage."""
    size = int(storage.nbytes())
    return -(-size // _GPU_BLOCK) * _GPU_BLOCK if storage.device.type == "cuda" else size
