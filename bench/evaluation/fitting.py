"""Prompts that are too long for a model are found before anything is loaded or merged, and named."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.errors import BadInput
from bench.evaluation.questions import Ask, Pool

SPECIAL = 16  # tokens that a tokenizer may put around a text
TEMPLATE = 2000  # bytes that a chat template may put around its messages
ADVICE = "take --suite with {others}, or a model with a longer context"


def context_of(path: Path) -> int | None:
    """The context that the config of the checkpoint at `path` states, in tokens; None where it states none."""
    file = Path(path) / "config.json"
    if not file.is_file():
        return None
    config = json.loads(file.read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    found = text.get("max_position_embeddings", text.get("n_positions"))
    return found if isinstance(found, int) and found > 0 else None


def doubtful(asked: Iterable[tuple[Pool, Ask]], context: int | None) -> list[tuple[Pool, Ask]]:
    """One ask of every prompt that may be too long: a token has a byte at least, so that most need no tokenizer.

    The prompts of an image are its classes, which the head reads.
    """
    return [
        (pool, ask)
        for pool, ask in asked
        if context is not None and ask.index == 0 and ask.sample.image is None and _most_tokens(ask) > context
    ]


def _most_tokens(ask: Ask) -> int:
    if ask.passage and ask.passage.max_tokens is not None:
        return ask.passage.max_tokens
    around = TEMPLATE if ask.messages else 0
    texts = (ask.prompt, *(message.content for message in ask.messages))
    return sum(len(text.encode()) for text in texts) + SPECIAL + around


def check_lengths(asked: Sequence[tuple[Pool, Ask]], path: Path, advice: str = ADVICE) -> None:
    """Refuse prompts (texts) that leave no room in the context of the model at `path`.

    Raises BadInput with every benchmark that has some, its longest prompt, and the benchmarks that have none.
    """
    context = context_of(path)
    suspects = doubtful(asked, context)
    if context is None or not suspects:
        return
    from bench.engines.texts import load_tokenizer
    from bench.models.passages import token_ids

    encoded = token_ids(load_tokenizer(path), [ask.passage or ask.prompt for _, ask in suspects])
    long: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for (pool, ask), ids in zip(suspects, encoded, strict=True):
        if len(ids) + (0 if pool.benchmark.labels else 1) > context:
            long[pool.benchmark.name].append((len(ids), ask.sample.id))
    if long:
        raise BadInput(_refusal(long, asked, path, context, advice))


def _refusal(
    long: dict[str, list[tuple[int, str]]], asked: Sequence[tuple[Pool, Ask]], path: Path, context: int, advice: str
) -> str:  # fmt: skip
    samples: dict[str, set[str]] = defaultdict(set)
    for pool, ask in asked:
        samples[pool.benchmark.name].add(ask.sample.id)
    said = []
    for name, found in long.items():
        tokens, id = max(found)
        count = len({sample for _, sample in found})
        said.append(
            f"{name}: {count:,} of {len(samples[name]):,} prompts do not fit, the longest has {tokens:,} tokens "
            f"(sample {id})"
        )
    fitting = ", ".join(name for name in samples if name not in long)
    others = f"benchmarks whose prompts fit (here: {fitting})" if fitting else "benchmarks of shorter prompts"
    return (
        f"the context of {path} is {context:,} tokens, of which an answer needs at least one. {'; '.join(said)}. "
        f"What to do: {advice.format(others=others)}"
    )
