"""A model's own chat template: turns of a conversation as the text that the model was trained to read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from bench.errors import BadInput
from tasks.contract import Message


class ChatTemplate:
    """The chat template of the checkpoint at `path`.

    Raises BadInput for a checkpoint without a tokenizer or without a template.
    """

    def __init__(self, path: Path) -> None:
        from transformers import AutoTokenizer

        from bench.models.loading import require_tokenizer

        require_tokenizer(Path(path), str(path))
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise BadInput(f"transformers cannot load the tokenizer of {path}: {error}") from error
        if not self.tokenizer.chat_template:
            raise BadInput(
                f"{path} has no chat template (neither chat_template.jinja nor `chat_template` in "
                "tokenizer_config.json): choose another --prompt-mode"
            )
        self.name = str(path)
        self.text = lru_cache(maxsize=1)(self._text)  # the responses of a pool share their messages

    def _text(self, messages: tuple[Message, ...]) -> str:
        """The prompt: the turns, and an open turn of the assistant.

        A begin token that the tokenizer will add on its own is left out of the text: engines tokenise prompts as
        any text, and the model must not read it twice.
        """
        try:
            text = str(
                self.tokenizer.apply_chat_template(
                    _turns(messages), tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # a template is a program of the model's author: it may raise anything
            raise BadInput(f"the chat template of {self.name} refuses the prompt: {error}") from error
        begin = self.tokenizer.bos_token
        if begin and text.startswith(begin) and self._adds(begin):
            text = text.removeprefix(begin)
        return text

    def _adds(self, begin: str) -> bool:
        """Whether tokenising a text puts the begin token before it."""
        return self.tokenizer("x")["input_ids"][:1] == [self.tokenizer.convert_tokens_to_ids(begin)]


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]
