"""Engine `hf`: any causal language model or classifier of transformers, on any machine, with a decoding loop
of our own.

What is ours and why: responses leave the batch as they finish, so that a batch does not wait for its longest
answer; every response has random numbers of its own; and a stop string ends an answer at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.engines.contract import (
    Answers,
    Choice,
    Completion,
    Continuation,
    Engine,
    EngineOptions,
    Head,
    Likelihood,
    Request,
)
from bench.engines.likelihood import encoded
from bench.engines.texts import TextEngine, end_ids, load_tokenizer
from bench.errors import BadInput, unknown
from bench.models.loading import load_body, load_model, with_head
from bench.waiting import set_waiting

FAMILY = "hf"
TAKES = {"device", "batch_size", "threads", "tokenizer"}
CLASSIFIES = True
DTYPES = ("float32", "bfloat16", "float16")
MAX_BATCH = 256
CACHE_BYTES = 2 << 30  # key-value cache that the default batch size aims at
TYPICAL_TOKENS = 1024  # prompt and answer that it assumes


def planned_device(device: str | None) -> str:
    """The device that will be used: the one asked for, else a GPU when there is one, else the processor.

    Without an NVIDIA driver the answer does not need torch.
    """
    if device is not None:
        return device
    if not Path("/proc/driver/nvidia/version").exists():
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_dtype(dtype: str | None) -> str | None:
    """`dtype`, if it is one; None stays None."""
    if dtype is not None and dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    return dtype


def stored_dtype(path: Path) -> str:
    """The dtype that the checkpoint's config states; float32 when it states none."""
    config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def planned_dtype(path: Path, *, device: str | None, dtype: str | None) -> str:
    """The compute dtype that will be used: the one asked for, else float32 on a processor and the
    checkpoint's own on a GPU."""
    if dtype is not None:
        return checked_dtype(dtype) or dtype
    return "float32" if planned_device(device) == "cpu" else stored_dtype(path)


def identity(path: Path, options: EngineOptions) -> tuple[str, str]:
    """Family and dtype, known without loading."""
    return FAMILY, planned_dtype(path, device=options.device, dtype=options.dtype)


def load(path: Path, options: EngineOptions) -> Engine:
    """The loaded engine; for images that of a vision tower."""
    if options.answers == "images":
        return _of_images(path, options)
    return HFEngine(
        path,
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch_size,
        threads=options.threads,
        answers=options.answers,
        tokenizer=options.tokenizer,
    )


def _of_images(path: Path, options: EngineOptions) -> Engine:
    from bench.engines.images import ImageEngine

    return ImageEngine(
        path,
        device=planned_device(options.device),
        dtype=planned_dtype(path, device=options.device, dtype=options.dtype),
        batch_size=options.batch_size,
        threads=options.threads,
    )


class HFEngine(TextEngine):
    """A loaded checkpoint. `batch_size` None chooses one by the size of the key-value cache.

    `answers="labels"` loads the body without a language head: it may have been saved with any head or none.

    Raises BadInput when the folder does not hold a model and a tokenizer that transformers can load.
    """

    family = FAMILY

    def __init__(
        self,
        path: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | None = None,
        threads: int | None = None,
        answers: Answers = "text",
        tokenizer: Path | None = None,
    ) -> None:
        set_waiting(os.environ)
        import torch

        if batch_size is not None and batch_size < 1:
            raise BadInput(f"batch size {batch_size} is below 1; leave it out to have one chosen")
        self.dtype = planned_dtype(path, device=device, dtype=dtype)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads: int | None = torch.get_num_threads()
        self.tokenizer = load_tokenizer(tokenizer or Path(path))
        self.model = _load(Path(path), self.dtype, planned_device(device), answers)
        self.config = self.model.config.get_text_config()
        self.context = getattr(self.config, "max_position_embeddings", None)
        self.batch_size = batch_size or _default_batch_size(self.config, self.model.dtype.itemsize)
        self.end_ids = set()
        if answers == "text":
            from bench.engines.attention import use_grouped
            from bench.engines.packing import pack

            use_grouped(self.model)
            pack(self.model)
            self.end_ids = end_ids((self.model.generation_config, self.config), self.tokenizer)

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions in small groups, as they finish, in any order.

        Raises BadInput, before anything is generated, for a prompt that leaves no room in the context.
        """
        from bench.engines.decoding import Decoder

        jobs = self.jobs(requests)
        for stop in dict.fromkeys(request.sampling.stop for request in requests):
            ends, strings = self.stops(stop)
            decoder = Decoder(
                self.model,
                batch_size=self.batch_size,
                end_ids=sorted(ends),
                has_stopped=partial(self.has_stopped, strings) if strings else None,
                # A token is at least one byte; a few more, because a tail may begin inside a character.
                tail=max((len(s.encode()) for s in strings), default=0) + 4,
            )
            for group in decoder.run([job for job in jobs if job.request.sampling.stop == stop]):
                yield self.completions(group, strings)

    def classify(self, requests: Sequence[Request], head: Head) -> Iterator[list[Choice]]:
        """Yield chosen labels in batches; the one loaded body serves the head of each classifier.

        Raises BadInput, before anything is chosen, for a head that does not fit or a prompt that is too long.
        """
        from bench.engines.choosing import choices

        if not isinstance(head, Path):
            raise BadInput("images are classified by a vision tower: load the engine with answers=images")

        classifier = with_head(self.model.base_model, head)
        yield from choices(classifier, self.tokens(requests, room=0), batch_size=self.batch_size)

    def loglikelihood(self, requests: Sequence[Continuation]) -> Iterator[list[Likelihood]]:
        """Yield likelihoods in batches; logarithms are taken in float32 whatever the dtype of the model."""
        from bench.engines.scoring import likelihoods

        pairs = encoded(self.tokenizer, requests, self.context)
        yield from likelihoods(self.model, pairs, batch_size=self.batch_size)

    def close(self) -> None:
        """Let go of the model."""
        self.model = None


def _load(path: Path, dtype: str, device: str, answers: Answers) -> Any:
    import torch

    model = (load_model if answers == "text" else load_body)(path, getattr(torch, dtype))
    return model.to(device)


def _default_batch_size(config: Any, itemsize: int) -> int:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row = 2 * config.num_hidden_layers * heads * width * itemsize * TYPICAL_TOKENS
    return max(1, min(MAX_BATCH, CACHE_BYTES // row))
