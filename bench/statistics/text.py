"""Examples as token ids: what the model is shown, and where its answer begins.

A language model is shown the prompt, the response and the end token (which its tokenizer names), as it is
trained; the answer is the response with the end token. Prompt and response are tokenized apart, because that is
where generation begins. A tokenizer with a chat template (and `chat_template=auto`) has it put around the prompt
as one user message, with the generation prompt behind it. What is longer than `max_length`, or than the model's
positions, loses its end; an example that loses its whole answer is skipped and counted. A classifier is shown the
prompt as its tokenizer gives it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.examples import ExampleSet
from bench.models.checkpoint import Checkpoint
from bench.models.loading import require_tokenizer
from bench.models.passages import token_ids
from tasks.contract import Example

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Shown:
    """One example: token ids, the position of the answer's first token (len(ids) without one), and the class.

    An image has no ids: `pixels` decodes it, [1, 3, height, width].
    """

    ids: tuple[int, ...]
    answer: int
    label: int | None = None
    pixels: Callable[[], Tensor] | None = None


@dataclass
class Texts:
    """Encoded examples, and how many were cut off or left out."""

    shown: list[Shown]
    counts: dict[str, int] = field(default_factory=dict)


class Reader:
    """A model's tokenizer and what limits its texts."""

    def __init__(self, model: Checkpoint, *, classifier: bool, chat: str = "auto") -> None:
        from transformers import AutoTokenizer

        require_tokenizer(model.path, model.name)
        self.name = model.name
        self.classifier = classifier
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model.path)
        self.chat = chat == "auto" and not classifier and bool(getattr(self.tokenizer, "chat_template", None))
        positions = model.config.get("max_position_embeddings", model.config.get("n_positions"))
        self.positions = int(positions) if positions else 1 << 30

    def read(self, examples: ExampleSet, options: Mapping[str, Any], *, answered: bool) -> Texts:
        """The chosen examples, encoded. `answered`: those whose answer is cut off entirely are left out."""
        limit = min(int(options["max_length"]), self.positions)
        texts = Texts([], {"examples": 0, "cut": 0, "left_out": 0})
        for example in chosen(examples, int(options["examples"]), int(options["seed"])):
            whole = self.encode(example)
            cut = len(whole.ids) > limit
            # A text's very first token is predicted by nothing.
            gone = answered and not self.classifier and min(limit, len(whole.ids)) <= max(whole.answer, 1)
            texts.counts["cut"] += cut and not gone
            texts.counts["left_out"] += gone
            if not gone:
                texts.shown.append(Shown(whole.ids[:limit], min(whole.answer, limit), whole.label))
        texts.counts["examples"] = len(texts.shown)
        if not texts.shown:
            raise BadInput(
                f"{examples.name}: no example is left for {self.name}: all {texts.counts['left_out']} lose their "
                f"whole answer at {limit} tokens"
            )
        return texts

    def encode(self, example: Example) -> Shown:
        """All token ids of one example."""
        prompt = self._prompt(example)
        if self.classifier or example.response is None:
            if not prompt:
                raise BadInput(f"{self.name}: the tokenizer makes nothing of the example {example.prompt!r}")
            return Shown(tuple(prompt), len(prompt), example.label)
        answer = self.tokenizer(example.response, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        if end is not None and (not answer or answer[-1] != end):
            answer = [*answer, end]
        return Shown((*prompt, *answer), len(prompt), example.label)

    def _prompt(self, example: Example) -> list[int]:
        if not self.chat or example.passage:
            return token_ids(self.tokenizer, [example.passage or example.prompt])[0]
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": example.prompt}], add_generation_prompt=True, tokenize=False
        )
        return list(self.tokenizer(rendered, add_special_tokens=False)["input_ids"])


def check_vocabulary(texts: Texts, models: Sequence[Checkpoint]) -> None:
    """Refuse texts with tokens that one of the models that read them lacks."""
    largest = max(max(row.ids) for row in texts.shown)
    for model in models:
        if largest >= int(model.config.get("vocab_size", largest + 1)):
            raise BadInput(
                f"{model.name} has no token {largest} of the base's tokenizer, and both must read the same tokens"
            )


def together(sets: Sequence[ExampleSet]) -> ExampleSet:
    """The examples of several experts as one set, in their order."""
    if len(sets) == 1:
        return sets[0]
    every = tuple(example for examples in sets for example in examples.examples)
    return ExampleSet("+".join(examples.name for examples in sets), every)


def chosen(examples: ExampleSet, count: int, seed: int) -> list[Example]:
    """The first `count` examples of the order that `seed` draws (all of them when there are fewer)."""
    every = examples.examples
    return random.Random(seed).sample(every, min(count, len(every)))


def batches(rows: Sequence[Shown], size: int) -> Iterator[Sequence[Shown]]:
    """Runs of `size` examples, the last one shorter."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
