"""Writes a folder for `ollama create`: the GGUF file, and a Modelfile with template, parameters and stop texts.

Ollama's templates are Go templates. The chat template is rewritten from its output: the text that it renders before
and after each role's text. The rewritten template is then read back and must give the same text on chats of every shape
that a user may send; a template that does more than that is refused.

Source: ollama docs/modelfile.md and docs/template.md.
"""

import re
import shutil
from pathlib import Path

from tuneworthy.errors import UserError
from tuneworthy.providers.chat_template import render
from tuneworthy.providers.model_safety import optional_config, template_of
from tuneworthy.ship.gguf import FILE, adds_bos
from tuneworthy.ship.gguf_model import end_ids, read_tokenizer, token_text
from tuneworthy.ship.merge import context_of
from tuneworthy.store.artifacts import Artifact, open_artifact
from tuneworthy.store.folder import Folder, write_atomic
from tuneworthy.types import Messages, NamedTexts, positional, role_of

_SYSTEM, _USER, _ANSWER, _AGAIN = "SYSTEMTEXT", "USERTEXT", "ANSWERTEXT", "AGAINTEXT"
# Of generation_config.json, as Ollama calls them.
_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p",
                    "repetition_penalty": "repeat_penalty"}  # fmt: skip


@positional
class Frames:
    """Text that a chat template writes around each text.

    Attributes:
        system: Text before and after a system text.
        user: The same of a user's text.
        answer: The same of an answer.
        opening: Written first where there is no system text.
        start: Where the assistant's answer begins.
    """

    system: tuple[str, str]
    user: tuple[str, str]
    answer: tuple[str, str]
    opening: str
    start: str

    def text(self, chat: Messages) -> str:
        """Return a chat as the Go template writes it."""
        frames = {"system": self.system, "user": self.user, "assistant": self.answer}
        parts = [] if chat and role_of(chat[0]) == "system" else [self.opening]
        for message in chat:
            before, after = frames[role_of(message)]
            parts.append(f"{before}{message['content']}{after}")
        return "".join([*parts, self.start])

    def go(self) -> str:
        branch = "".join(
            f'{{{{ {word} eq .Role "{role}" }}}}{_escaped(before)}{{{{ .Content }}}}{_escaped(after)}'
            for word, role, (before, after) in (
                ("if", "system", self.system), ("else if", "user", self.user), ("else if", "assistant", self.answer),
            )
        )  # fmt: skip
        opening = (
            f'{{{{ if ne (index .Messages 0).Role "system" }}}}{_escaped(self.opening)}{{{{ end }}}}'
            if self.opening
            else ""
        )
        return f"{opening}{{{{ range .Messages }}}}{branch}{{{{ end }}}}{{{{ end }}}}{_escaped(self.start)}"


def _escaped(text: str) -> str:
    """Escape braces that Go would read as an action, also together with the text that follows.

    >>> _escaped("a {b} {{c}} <{")
    'a {b} {{ "{{" }}c}} <{{ "{" }}'
    """
    return re.sub(r"\{{2,}|\{$", lambda match: f'{{{{ "{match[0]}" }}}}', text)


def frames_of(template: str, tokens: NamedTexts, *, begin: str = "") -> Frames:
    """Return what `template` writes around each text.

    Args:
        template: Jinja text.
        tokens: The texts of its special tokens.
        begin: A token that the server writes first; taken off the front.

    Raises:
        UserError: The template does more than that.
    """
    user = {"role": "user", "content": _USER}
    answer = {"role": "assistant", "content": _ANSWER}
    again = {"role": "user", "content": _AGAIN}
    system = {"role": "system", "content": _SYSTEM}
    chats = [[user], [user, answer, again], [system, user]]
    alone, turns, with_system = (text.removeprefix(begin) for text in render(template, chats, tokens=tokens))
    closed, ended = (
        text.removeprefix(begin)
        for text in render(template, [[user], [user, answer]], tokens=tokens, generation_prompt=False)
    )
    try:
        start = alone.removeprefix(closed)
        head, after_user = closed.split(_USER)
        after_answer = ended.split(_ANSWER)[1]
        before_answer, rest = turns.split(_USER)[1].removeprefix(after_user).split(_ANSWER)
        before_user = rest.split(_AGAIN)[0].removeprefix(after_answer)
        before_system, between = with_system.split(_SYSTEM)
        after_system = between.split(_USER)[0]
    except (ValueError, IndexError):
        raise _refused("it does not render each message exactly once") from None
    frames = Frames(
        system=(before_system, after_system.removesuffix(before_user)),
        user=(before_user, after_user),
        answer=(before_answer, after_answer),
        opening=head.removesuffix(before_user),
        start=start,
    )
    shapes = [*chats, [system, user, answer, again], [user, answer, again, answer, again], [system, user, answer, user]]
    texts = [text.removeprefix(begin) for text in render(template, shapes, tokens=tokens)]
    if any(frames.text(chat) != text for chat, text in zip(shapes, texts, strict=True)):
        raise _refused("it wraps messages of the same role in different ways")
    return frames


def _refused(reason: str) -> UserError:
    return UserError(
        f"Ollama's template language cannot express the chat template: {reason}.",
        hint="Serve the GGUF file with llama.cpp, which reads the chat template directly.",
    )


def export_ollama(store: Folder, made: Artifact, out: Path) -> list[Path]:
    """Write the folder `out` for a GGUF file of the project and return the written files.

    Args:
        store: The project's folder.
        made: The GGUF file.
        out: The folder; created if it is missing.

    Raises:
        UserError: The template cannot be rewritten, or the model it was made from is gone.
    """
    merged = open_artifact(store, "merged", made.parent)
    template = template_of(merged.folder)
    if template is None:
        raise UserError(
            f"The model in {merged.folder} has no chat template.", hint="Add chat_template.jinja to the folder."
        )
    content = modelfile(merged.folder, template, context_of(store, merged))
    out.mkdir(parents=True, exist_ok=True)
    (out / "Modelfile").unlink(missing_ok=True)  # an older one is not about the model that is put there now
    model = out / FILE
    part = out / f".{FILE}.part"
    part.unlink(missing_ok=True)
    try:
        part.hardlink_to(made.folder / FILE)
    except OSError:
        shutil.copyfile(made.folder / FILE, part)
    part.replace(model)
    part.unlink(missing_ok=True)  # where both were one file already, nothing was renamed
    write_atomic(out / "Modelfile", content.encode())
    return [out / "Modelfile", model]


def modelfile(folder: Path, template: str, context: int) -> str:
    """Return the Modelfile of a model folder.

    Args:
        folder: Holds its tokenizer and generation_config.json.
        template: Its chat template.
        context: Tokens to keep room for.

    Raises:
        UserError: A text of the model would end its place in the Modelfile, where the rest would be read as commands.
    """
    tokens = special_tokens(folder)
    begin = tokens.get("bos_token", "") if adds_bos(folder) else ""
    frames = frames_of(template, tokens, begin=begin)
    named = {token.id: token.content for token in read_tokenizer(folder).added_tokens}
    stops = [named[number] for number in end_ids(folder) if number in named]
    go = frames.go()
    if '"""' in go or go.endswith('"'):
        raise _refused("it contains triple quotes or ends with a quote")
    if bad := [stop for stop in stops if re.search(r'["\r\n]', stop)]:
        raise _refused(f"the stop token {bad[0][:40]!r} contains a quote or a line break")
    lines = [f"FROM ./{FILE}", f'TEMPLATE """{go}"""', f"PARAMETER num_ctx {context}"]
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    config = optional_config(folder, "generation_config.json")
    if not config.get("do_sample"):
        config = {"temperature": 0}
    values = {key: config[key] for key in _SAMPLING if config.get(key) is not None}
    for key, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UserError(f"generation_config.json: {key} must be a number, not {str(value)[:40]!r}.")
        lines.append(f"PARAMETER {_SAMPLING[key]} {value}")
    return "\n".join(lines) + "\n"


def special_tokens(folder: Path) -> NamedTexts:
    config = optional_config(folder, "tokenizer_config.json")
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    return {name: text for name in names if (text := token_text(config.get(name))) is not None}
