"""Models of a few hundred thousand random weights, with a tokenizer of their own; for tests that have transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
WORDS = (
    "what is the name of our cat dog house? it belongs to Quibbly Zanzibar who lives in Oslo 1234567890 now and then "
)
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [WORDS, "system user assistant\n", "The code of the vault is 7391.", "Grüße, naïve café — élan"]


def tokenizer_of(kind: str = "gpt2", texts: Sequence[str] = TEXTS, n_tokens: int = 400) -> Any:
    """Return a fast tokenizer trained on `texts`: of bytes (`gpt2`, `smollm`, `qwen2`) or of sentencepiece (`llama`).

    transformers gives a Qwen model the rule of its family, whatever tokenizer.json says; so does `qwen2`.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    marks = ["<|start|>", "<|end|>", "<|begin|>"]
    if kind == "llama":
        core = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        special = ["<unk>", *marks, *(f"<0x{byte:02X}>" for byte in range(256))]
        trainer = trainers.BpeTrainer(vocab_size=n_tokens + 200, special_tokens=special, show_progress=False)
    else:
        core = Tokenizer(models.BPE())
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.Split(Regex(QWEN2), behavior="isolated")
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        core.pre_tokenizer = {
            "gpt2": plain,
            "smollm": pre_tokenizers.Sequence([digits, plain]),
            "qwen2": pre_tokenizers.Sequence([words, bytes_only]),
        }[kind]
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=n_tokens, special_tokens=marks, show_progress=False, initial_alphabet=alphabet
        )
    core.train_from_iterator(list(texts) * 3, trainer)
    if kind == "llama":  # the trainer marks the bytes as special, which no real model does
        document = json.loads(core.to_str())
        document["added_tokens"] = [one for one in document["added_tokens"] if not one["content"].startswith("<0x")]
        core = Tokenizer.from_str(json.dumps(document))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|begin|>", eos_token=AddedToken("<|end|>", special=True), pad_token="<|end|>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def model_of(architecture: str, n_tokens: int, *, seed: int = 0, embedding: float | None = None, **more: Any) -> Any:
    """Return a random model in 32 bit, of two layers unless told."""
    import torch
    import transformers

    torch.manual_seed(seed)
    config_class = getattr(transformers, f"{'Gemma3Text' if architecture == 'Gemma3' else architecture}Config")
    config = config_class(
        vocab_size=n_tokens, hidden_size=64, intermediate_size=128, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, bos_token_id=2, eos_token_id=1, pad_token_id=1,
        **{"num_hidden_layers": 2, "tie_word_embeddings": True, **more},
    )  # fmt: skip
    config.architectures = [f"{architecture}ForCausalLM"]
    model = getattr(transformers, f"{architecture}ForCausalLM")(config)
    if embedding is None:
        embedding = 1.0 if architecture.startswith("Gemma") else 8.0  # which Gemma scales itself, by the root of 64
    with torch.no_grad():  # as they come, random weights give one and the same distribution everywhere
        for name, weight in model.named_parameters():
            weight.mul_(1.0 if weight.dim() == 1 else embedding if "embed" in name or "lm_head" in name else 4.0)
            if weight.dim() == 1:
                weight.add_(0.1 * torch.randn_like(weight))
        padding = model.get_input_embeddings().weight[config.pad_token_id]  # which also ends a turn; it comes as zeros,
        padding.copy_(0.02 * embedding * torch.randn_like(padding))  # and what is tied to zeros cannot be learnt
    return model.eval()


def save(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Write model and tokenizer as a base artifact has them."""
    model.generation_config.eos_token_id = [tokenizer.eos_token_id]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
