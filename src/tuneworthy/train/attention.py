"""Attention over rows that lie one after the other behind their common prefix (see `layout`).

A token sees the prefix and the earlier tokens of its own row; nothing of other rows. Only here rows are padded
(to the longest of the batch): all else of a transformer works on tokens one by one.

It is given to transformers under the name `NAME`, and works with every model whose attention goes through its
`AttentionInterface` without a sliding window, a soft cap or sinks; `supports` says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "tuneworthy_rows"
# Rows are padded to a multiple of this many tokens, so that few sizes occur.
ROUNDED = 16
_PECULIAR = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size", "layer_types", "sinks")


def supports(config: Any) -> bool:
    """Whether the attention of a model with this configuration is plain: all of the past, in every layer."""
    text = config.get_text_config()
    if getattr(text, "use_sliding_window", None) is False:
        return not getattr(text, "attn_logit_softcapping", None)
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    return kinds == {"full_attention"} and not any(
        getattr(text, name, None) for name in _PECULIAR if name != "layer_types"
    )


class RowAttention:
    """The attention function, with the layout of the batch at hand."""

    def __init__(self) -> None:
        self._sizes: tuple[int, int, Sequence[int]] = (0, 0, ())
        self._tensors: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def lay(self, lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
        import torch

        prefix, filled, *rows = lengths
        longest = -(-max(rows) // ROUNDED) * ROUNDED
        flat = torch.tensor([row * longest + at for row, n in enumerate(rows) for at in range(n)], device=device)
        here = torch.arange(longest, device=device)[:, None] + prefix
        visible = torch.arange(prefix + longest, device=device)[None, :] <= here
        mask = torch.zeros(visible.shape, dtype=dtype, device=device).masked_fill_(~visible, float("-inf"))
        square = torch.full((prefix, prefix), float("-inf"), dtype=dtype, device=device).triu_(1)
        self._sizes, self._tensors = (prefix, filled, rows), (flat, mask, square)

    def __call__(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **named: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attend.

        Args:
            module: The attention layer.
            query: `(1, n_heads, n_tokens, width)`.
            key: `(1, n_key_heads, n_tokens, width)`.
            value: `(1, n_key_heads, n_tokens, width)`.
            attention_mask: None: the layout says who sees whom.
            dropout: Dropout of the weights.
            scaling: Scale of the products.
            named: What other attention functions need.

        Returns:
            `(1, n_tokens, n_heads, width)`, and no weights.
        """
        import torch

        if self._tensors is None or attention_mask is not None:
            raise ValueError("expected the layout of the batch and no mask")
        (prefix, filled, lengths), (flat, mask, square) = self._sizes, self._tensors
        scale = query.shape[3] ** -0.5 if scaling is None else scaling
        chance = dropout if module.training else 0.0
        sizes = [prefix, sum(lengths), filled]
        parts = [tensor[0].transpose(0, 1).split(sizes) for tensor in (query, key, value)]  # (n_tokens, heads, width)
        (q0, q1, rest), (k0, k1, _), (v0, v1, _) = parts
        longest = mask.shape[0]
        q, k, v = (_padded(tensor, lengths, longest) for tensor in (q1, k1, v1))
        shared = []
        if prefix:
            n = len(lengths)
            shared = [_attend(q0[None], k0[None], v0[None], square, scale, chance)[0]]
            k = torch.cat([k0[None].expand(n, -1, -1, -1), k], dim=1)
            v = torch.cat([v0[None].expand(n, -1, -1, -1), v], dim=1)
        own = _attend(q, k, v, mask, scale, chance)
        own = own.reshape(-1, *own.shape[2:]).index_select(0, flat)
        return torch.cat([*shared, own, torch.zeros_like(rest)])[None], None


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, scale: float, chance: float
) -> torch.Tensor:
    """Return `(n_rows, n_asking, n_heads, width)`.

    Written out, since for short rows the fused kernels of a processor take four times as long backward.

    Args:
        q: `(n_rows, n_asking, n_heads, width)`.
        k: `(n_rows, n_visible, n_key_heads, width)`.
        v: `(n_rows, n_visible, n_key_heads, width)`.
        mask: Added to the products, `(n_asking, n_visible)`.
        scale: Scale of the products.
        chance: Dropout.
    """
    import torch

    rows, asking, heads, width = q.shape
    shared = heads // k.shape[2]  # heads that share keys
    q = (q * scale).view(rows, asking, -1, shared, width)  # (rows, asking, key_heads, shared, width)
    q = q.permute(0, 2, 3, 1, 4)
    products = q.reshape(rows, -1, shared * asking, width) @ k.permute(0, 2, 3, 1)
    products = products.view(rows, -1, shared, asking, k.shape[1]) + mask
    weights = torch.softmax(products, dim=-1, dtype=torch.float32).to(v.dtype)
    weights = torch.nn.functional.dropout(weights, chance, training=chance > 0)
    out = weights.view(rows, -1, shared * asking, k.shape[1]) @ v.transpose(1, 2)
    return out.view(rows, -1, shared, asking, width).permute(0, 3, 1, 2, 4).reshape(rows, asking, heads, width)


def _padded(tensor: torch.Tensor, lengths: Sequence[int], longest: int) -> torch.Tensor:
    """Return `(n_rows, longest, heads, width)` for `(n_tokens, heads, width)`; nothing attends to the padding."""
    from torch.nn.functional import pad
    from torch.nn.utils.rnn import pad_sequence

    rows = pad_sequence(tensor.split([*lengths]), batch_first=True)
    return pad(rows, (0, 0, 0, 0, 0, longest - rows.shape[1]))
