"""The forms that transformers runs: the base, the adapter on it, the merged model."""

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from tuneworthy.extras import require
from tuneworthy.providers.model_safety import check_model
from tuneworthy.ship.merged_weights import TORCH_DTYPES, all_trained, dtype_of
from tuneworthy.ship.parity.measure import TOP, Greedy, ModelForm, NextToken
from tuneworthy.train.advise import has_bf16
from tuneworthy.train.base_model import end_ids, load_model, load_tokenizer, template_of
from tuneworthy.train.generation import BATCH, answer_ids, batches, inner_model, quiet, repeated, shared_start
from tuneworthy.train.memory import Device
from tuneworthy.train.render import Renderer, RowChat
from tuneworthy.types import TokenLists, Tokens


class TransformersForm(ModelForm):
    """A model in memory, with the tokenizer of a folder.

    Args:
        model: Model of transformers or PEFT, ready to answer.
        renderer: Its tokenizer and template.
        ends: Ids that end an answer.
    """

    def __init__(self, model: Any, renderer: Renderer, ends: Tokens) -> None:
        self._model, self._renderer, self._ends = model, renderer, list(ends)
        # else it gives the logits of every token
        self._keeps = "logits_to_keep" in signature(inner_model(model).forward).parameters

    def template(self) -> str | None:
        return self._renderer.template.source

    def prompt_ids(self, chats: Sequence[RowChat]) -> list[list[int]]:
        return [ids or [] for ids in self._renderer.prompts(chats)]

    def token_ids(self, text: str) -> list[int]:
        return self._renderer.ids(text)

    def following(self, texts: TokenLists) -> list[NextToken]:
        """Return what follows each text; texts of like length are read side by side, what all begin with once."""
        import torch

        found: dict[int, NextToken] = {}
        start, cache = shared_start(self._model, texts)
        for chosen in batches([len(ids) for ids in texts], 1, BATCH if self._keeps else 1):
            rows = [list(texts[at][start:]) for at in chosen]
            width = max(map(len, rows))
            # The text before it does not see the filler, whatever token that is.
            ids = torch.tensor([row + row[-1:] * (width - len(row)) for row in rows], device=self._model.device)
            ends = sorted({len(row) - 1 for row in rows})
            more = {"logits_to_keep": torch.tensor(ends, device=ids.device)} if self._keeps else {}
            if cache is not None:
                more["past_key_values"] = repeated(cache, len(rows))
            with torch.inference_mode():
                logits = self._model(ids, **more).logits
            for row, (at, read) in enumerate(zip(chosen, rows, strict=True)):
                place = ends.index(len(read) - 1) if self._keeps else len(read) - 1
                values, tokens = torch.log_softmax(logits[row, place].float(), -1).topk(min(TOP, logits.shape[-1]))
                found[at] = dict(zip(tokens.tolist(), values.tolist(), strict=True))
        return [found[at] for at in range(len(texts))]

    def greedy(self, prompts: TokenLists, most: Tokens) -> list[Greedy]:
        """Return the most likely answers; those that have room for as many tokens are written side by side."""
        answers = {}
        for n in sorted(set(most)):
            places = [place for place, room in enumerate(most) if room == n]
            batch = [prompts[place] for place in places]
            rows = answer_ids(self._model, batch, ends=self._ends, filler=self._ends[0], max_tokens=n)
            for place, (ids, end) in zip(places, rows, strict=True):
                answers[place] = Greedy(tuple(ids), self._renderer.text(ids), end is not None)
        return [answers[place] for place in range(len(prompts))]


def renderer_of(folder: Path, base: Path | None = None) -> Renderer:
    """Return the tokenizer and template of a model folder; the ends of a turn are those of `base`, if it is given.

    Raises:
        ModelError: It has no chat template, or nothing ends a turn.
    """
    tokenizer = load_tokenizer(folder)
    return Renderer(template_of(tokenizer, folder), tokenizer, end_ids(base or folder, tokenizer))


def load(folder: Path, dtype: str) -> Any:
    """Return the model of a folder, ready to answer.

    Args:
        folder: Safetensors and their configuration.
        dtype: Type of the weights. Products are computed in float32 where the device lacks that type.

    Raises:
        ModelError: It may not be loaded.
        UserError: transformers is not installed.
    """
    check_model(folder)
    require("transformers")
    import torch

    quiet()
    device: Device = "cuda" if torch.cuda.is_available() else "cpu"
    computes = has_bf16(device) if dtype == "bfloat16" else device == "cuda"  # in software it is far slower
    return load_model(folder, dtype if computes else "float32").to(device).eval()


def ends_of(model: Any, more: Tokens) -> list[int]:
    """Return the ids at which a model stops: of its generation config, then `more`."""
    listed = model.generation_config.eos_token_id
    ids = [*(listed if isinstance(listed, list) else [listed]), *more]
    return list(dict.fromkeys(number for number in ids if isinstance(number, int)))


def with_adapter(model: Any, folder: Path) -> Any:
    """Return the model with an adapter applied, not merged, and computed as in training; or the fully trained model.

    Raises:
        ModelError: It may not be loaded.
    """
    if all_trained(folder):
        return load(folder, TORCH_DTYPES[dtype_of(folder)])
    check_model(folder)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, folder, is_trainable=False, local_files_only=True).eval()
