"""Shapes of well-known models, as plain numbers of their config.json."""

from __future__ import annotations

from typing import Any


def config(*sizes: int, **more: Any) -> dict[str, Any]:
    """A config.json of Llama's family unless told: width, MLP, layers, heads, key heads, vocabulary."""
    hidden, ff, layers, heads, kv, vocab = sizes
    return {"model_type": "llama", "hidden_size": hidden, "intermediate_size": ff, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "vocab_size": vocab, "tie_word_embeddings": False,
            **more}  # fmt: skip


SMOLLM2_135M = config(576, 1536, 30, 9, 3, 49152, tie_word_embeddings=True)
LLAMA_3B = config(3072, 8192, 28, 24, 8, 128256, tie_word_embeddings=True)
LLAMA_7B = config(4096, 11008, 32, 32, 32, 32000)
LLAMA_8B = config(4096, 14336, 32, 32, 8, 128256, max_position_embeddings=131072)
QWEN_14B = config(5120, 17408, 40, 40, 8, 151936, model_type="qwen3", head_dim=128)
QWEN_32B = config(5120, 25600, 64, 64, 8, 151936, model_type="qwen3", head_dim=128)
LLAMA_70B = config(8192, 28672, 80, 64, 8, 128256, max_position_embeddings=131072)
LLAMA_405B = config(16384, 53248, 126, 128, 8, 128256)
QWEN_MOE = config(2048, 6144, 48, 32, 4, 151936, model_type="qwen3_moe", head_dim=128, num_experts=128,
                  num_experts_per_tok=8, moe_intermediate_size=768)  # fmt: skip
