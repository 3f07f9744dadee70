"""Attention over rows that lie one after the other behind their common prefix (see `layout`).

A token sees the prefix and, of its own row, what comes before it; nothing of other rows. Only here rows are padded
(to the longest of the batch): all else of a transformer works on tokens one by one.

It is given to transformers under the name `NAME`, and works with every model whose attention goes through its
`AttentionInterface` without a sliding window, a soft cap or sinks; `supports` says which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tuneworthy.train.layout import Layout

if TYPE_CHECKING:
    import torch

NAME: Final = "tuneworthy_rows"
_PECULIAR: Final = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size", "layer_types", "sinks")


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
    """The attention function; `layout` is that of the batch at hand."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self._flat: torch.Tensor | None = None
        self._mask: torch.Tensor | None = None

    def register(self) -> None:
        """Make it known to transformers under `NAME`."""
        from transformers import AttentionInterface

        AttentionInterface.register(NAME, self)

    def lay(self, layout: Layout, device: torch.device, dtype: torch.dtype) -> None:
        """Take the layout of the next batch; all layers share what is computed here."""
        import torch

        self.layout = layout
        longest = max(layout.lengths)
        places = [row * longest + at for row, n in enumerate(layout.lengths) for at in range(n)]
        self._flat = torch.tensor(places, device=device)
        here = torch.arange(longest, device=device)[:, None] + layout.prefix
        seen = torch.arange(layout.prefix + longest, device=device)[None, :] <= here
        self._mask = torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, float("-inf"))

    def __call__(
        self,
        module: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, None]:
        """Attend.

        Args:
            module: The attention layer. query: `(1, n_heads, n_tokens, width)`.
            key, value: `(1, n_key_heads, n_tokens, width)`.
            attention_mask: None: the layout says who sees whom.
            dropout: Of the weights. scaling: Of the products.

        Returns:
            `(1, n_tokens, n_heads, width)`, and no weights.
        """
        import torch
        from torch.nn.functional import scaled_dot_product_attention as attend

        layout, flat, mask = self.layout, self._flat, self._mask
        if layout is None or flat is None or attention_mask is not None:
            raise ValueError("expected the layout of the batch and no mask")
        grouped = query.shape[1] != key.shape[1]
        named: dict[str, Any] = {"dropout_p": dropout if module.training else 0.0, "scale": scaling,
                                 "enable_gqa": grouped}  # fmt: skip
        sizes = [layout.prefix, sum(layout.lengths)]
        parts = [tensor[0].transpose(0, 1).split(sizes) for tensor in (query, key, value)]  # (n_tokens, heads, width)
        (q0, q1), (k0, k1), (v0, v1) = parts
        q, k, v = (_padded(tensor, layout.lengths) for tensor in (q1, k1, v1))
        found = []
        if layout.prefix:
            first = attend(*(tensor.transpose(0, 1)[None] for tensor in (q0, k0, v0)), is_causal=True, **named)
            found.append(first[0].transpose(0, 1))
            n = len(layout.lengths)
            k = torch.cat([k0[None].expand(n, -1, -1, -1), k], dim=1)
            v = torch.cat([v0[None].expand(n, -1, -1, -1), v], dim=1)
            own = attend(*(tensor.transpose(1, 2) for tensor in (q, k, v)), attn_mask=mask, **named)
        else:
            own = attend(*(tensor.transpose(1, 2) for tensor in (q, k, v)), is_causal=True, **named)
        heads, width = own.shape[1], own.shape[3]
        own = own.transpose(1, 2).reshape(-1, heads, width).index_select(0, flat)
        return torch.cat([*found, own])[None], None


def _padded(tensor: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    """Return `(n_rows, longest, heads, width)` for `(n_tokens, heads, width)`; nothing sees what is filled in."""
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence(tensor.split(lengths), batch_first=True)
