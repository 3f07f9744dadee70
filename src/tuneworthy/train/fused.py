"""A linear layer with its adapter as one step: what PEFT computes, with fewer passes over memory.

PEFT casts the inputs to the adapter's type, scales and adds in steps of their own, each of which writes and, for the
gradient, keeps a tensor as large as the activations. Here the adapter's product is added into the layer's output as it
is computed, and only the input is kept. Weights of the adapter stay float32; arithmetic is in the type of the input,
as under autocast.

Source: Hu et al. 2021 (2106.09685), y = W x + scale * B (A x).
"""

from types import MethodType
from typing import Any

import torch


class AdapterLinear(torch.autograd.Function):
    """y = x W' + bias + scale * (x A') B', and its gradients for x, A and B; W is frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        dropped: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Compute the output.

        Args:
            ctx: Stores the inputs of the gradient.
            x: `(..., n_in)`.
            dropped: The same after dropout; None without dropout.
            weight: `(n_out, n_in)`.
            bias: `(n_out,)`.
            a: `(rank, n_in)`.
            b: `(n_out, rank)`.
            scale: alpha / rank.

        Returns:
            `(..., n_out)`.
        """
        flat = x.reshape(-1, x.shape[-1])
        inputs = flat if dropped is None else dropped.reshape(-1, x.shape[-1])
        a16, b16 = a.to(x.dtype), b.to(x.dtype)
        y = torch.nn.functional.linear(flat, weight, bias)
        h = inputs @ a16.t()  # (n_tokens, rank)
        y.addmm_(h, b16.t(), alpha=scale)
        ctx.save_for_backward(inputs, weight, a16, b16, h)
        ctx.scale, ctx.kinds = scale, (a.dtype, b.dtype)
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Return the gradients of x, A and B."""
        inputs, weight, a16, b16, h = ctx.saved_tensors
        (gradient,) = gradients
        g = gradient.reshape(-1, gradient.shape[-1])
        through = (g @ b16).mul_(ctx.scale)  # (n_tokens, rank)
        of_x = of_dropped = None
        if ctx.needs_input_grad[0]:
            of_x = g @ weight
            if not ctx.needs_input_grad[1]:
                of_x.addmm_(through, a16)
            of_x = of_x.view(*gradient.shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            of_dropped = (through @ a16).view(*gradient.shape[:-1], -1)
        of_a = (through.t() @ inputs).to(ctx.kinds[0])
        of_b = (g.t() @ h).mul_(ctx.scale).to(ctx.kinds[1])
        return of_x, of_dropped, None, None, of_a, of_b, None


def fuse(model: torch.nn.Module) -> int:
    """Let every plain adapter of `model` compute in one step; return how many there are.

    Left as they are: quantised layers, DoRA, several adapters at once.
    """
    from peft.tuners.lora.layer import Linear

    n = 0
    for module in model.modules():
        if isinstance(module, Linear) and _plain(module):
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
            n += 1
    return n


def _plain(module: Any) -> bool:
    names = module.active_adapters
    return (
        len(names) == 1
        and type(module.base_layer) is torch.nn.Linear
        and not getattr(module, "use_dora", {}).get(names[0], False)
        and not getattr(module, "lora_bias", {}).get(names[0], False)
    )


def _forward(module: Any, x: torch.Tensor, *arguments: Any, **named: Any) -> torch.Tensor:
    if module.disable_adapters or module.merged or arguments or named:
        return type(module).forward(module, x, *arguments, **named)  # type: ignore[no-any-return]
    name = module.active_adapters[0]
    layer = module.base_layer
    a, b, drop = module.lora_A[name].weight, module.lora_B[name].weight, module.lora_dropout[name]
    dropped = drop(x) if module.training and not isinstance(drop, torch.nn.Identity) else None
    return AdapterLinear.apply(x, dropped, layer.weight, layer.bias, a, b, module.scaling[name])  # type: ignore[no-any-return]
