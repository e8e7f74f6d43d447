"""Matrix products with bfloat16 factors and float32 sums, for whole models and without touching their code.

Inside ``reduced_products`` every product of float32 matrices that a model writes (``x @ w``, linear layers, batched
products; PyTorch leaves out tiny ones) is done that way on a CPU, in the forward pass, the backward pass or
both. Everything else (norms, softmax, fused attention, sums) and everything that is stored stays in float32. It is
for CPUs with bfloat16 instructions (``reduced_products_help``); others take float32 or slow emulated products.

Why a function mode and not PyTorch's global switch: under the switch the fused attention kernel becomes ten
times slower, since it hands its small inner products to the same library one by one.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from susceptometer.errors import RecipeError

PRECISIONS = ("float32", "mixed", "bfloat16")
"""Of matrix products: all in float32; losses in float32 and gradients in bfloat16; all in bfloat16."""


def reduced_products(precision: str) -> AbstractContextManager:
    """Inside: matrix products in one of `PRECISIONS`; gradients of what is computed inside follow it too."""
    checked(precision)
    return nullcontext() if precision == "float32" else _ReducedProducts(forward=precision == "bfloat16")


def checked(precision: str) -> str:
    """The precision itself.

    Raises:
        RecipeError: Not one of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise RecipeError(
            "unknown precision of matrix products", where="precision", value=precision,
            do=f"choose one of {', '.join(PRECISIONS)}",
        )  # fmt: skip
    return precision


def reduced_products_help() -> bool:
    """Whether this CPU multiplies bfloat16 matrices itself."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - PyTorch's own test of the CPU


@contextmanager
def bfloat16_products() -> Iterator[None]:
    """CPU products of float32 tensors in bfloat16 with float32 sums, inside the block only."""
    backend: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, backend.fp32_precision = backend.fp32_precision, "bf16"
    try:
        yield
    finally:
        backend.fp32_precision = before


class _ReducedProducts(TorchFunctionMode):
    """Sends products of float32 CPU matrices to `_Product`; ``forward``: also their values are reduced."""

    def __init__(self, *, forward: bool) -> None:
        super().__init__()
        self._forward = forward

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        del types
        kwargs = kwargs or {}
        if func in _PRODUCTS and not kwargs and _reducible(*args[:2]):
            return _product(args[0], args[1], forward=self._forward)
        if func is F.linear and _reducible(*args[:2]):
            bias = args[2] if len(args) > 2 else kwargs.get("bias")
            out = _product(args[0], args[1].mT, forward=self._forward)
            return out if bias is None else out.add_(bias)
        if func is torch.addmm and not kwargs and _reducible(*args[1:3]):
            return _product(args[1], args[2], forward=self._forward).add_(args[0])
        return func(*args, **kwargs)


_PRODUCTS = {torch.matmul, torch.bmm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm}


def _reducible(a: object, b: object) -> bool:
    return all(isinstance(x, Tensor) and x.dtype is torch.float32 and x.ndim >= 2 and not x.is_cuda for x in (a, b))


def _product(a: Tensor, b: Tensor, *, forward: bool) -> Tensor:
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
        return _Product.apply(a, b, forward)
    return _multiplied(a, b, reduced=forward)


def _multiplied(a: Tensor, b: Tensor, *, reduced: bool) -> Tensor:
    with bfloat16_products() if reduced else nullcontext():
        return torch.matmul(a, b)


class _Product(torch.autograd.Function):
    """``a @ b`` whose gradients are products in bfloat16."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, reduced: bool) -> Tensor:
        need_a, need_b = ctx.needs_input_grad[:2]
        ctx.shapes = a.shape, b.shape
        ctx.save_for_backward(a if need_b else None, b if need_a else None)
        return _multiplied(a, b, reduced=reduced)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        (a_shape, b_shape), d_a, d_b = ctx.shapes, None, None
        if b is not None:
            d_a = _multiplied(grad, b.mT, reduced=True).sum_to_size(a_shape)
        if a is not None and len(b_shape) == 2:
            d_b = _multiplied(a.flatten(0, -2).mT, grad.flatten(0, -2), reduced=True)
        elif a is not None:
            d_b = _multiplied(a.mT, grad, reduced=True).sum_to_size(b_shape)
        return d_a, d_b, None
