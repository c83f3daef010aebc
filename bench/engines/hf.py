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
from typing import TYPE_CHECKING, Any, Literal

from bench.engines.contract import Answers, Choice, Completion, EngineOptions, Request
from bench.errors import BadInput, unknown
from bench.models.loading import load_body, load_model, require_tokenizer, with_head

if TYPE_CHECKING:
    from bench.engines.decoding import Job, Tokens

FAMILY = "hf"
TAKES = {"device", "batch_size", "threads"}
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


def planned_dtype(path: Path, *, device: str | None, dtype: str | None) -> str:
    """The compute dtype that will be used: the one asked for, else float32 on a processor and the
    checkpoint's own on a GPU."""
    if dtype is not None:
        if dtype not in DTYPES:
            raise unknown("dtype", dtype, DTYPES)
        return dtype
    if planned_device(device) == "cpu":
        return "float32"
    config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def identity(path: Path, options: EngineOptions) -> tuple[str, str]:
    """Family and dtype, known without loading."""
    return FAMILY, planned_dtype(path, device=options.device, dtype=options.dtype)


def load(path: Path, options: EngineOptions) -> HFEngine:
    """The loaded engine."""
    return HFEngine(
        path,
        device=options.device,
        dtype=options.dtype,
        batch_size=options.batch_size,
        threads=options.threads,
        answers=options.answers,
    )


class HFEngine:
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
    ) -> None:
        # Threads that wait by spinning stop each other on a busy machine: ten times slower was measured
        # beside two other processes on two cores. Read once, when torch is first imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        if batch_size is not None and batch_size < 1:
            raise BadInput(f"batch size {batch_size} is below 1; leave it out to have one chosen")
        self.dtype = planned_dtype(path, device=device, dtype=dtype)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()
        self.model, self.tokenizer = _load(Path(path), self.dtype, planned_device(device), answers)
        self.config = self.model.config.get_text_config()
        self.context: int | None = getattr(self.config, "max_position_embeddings", None)
        self.batch_size = batch_size or _default_batch_size(self.config, self.model.dtype.itemsize)
        self.end_ids = _end_ids(self.model, self.tokenizer) if answers == "text" else set()

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions in small groups, as they finish, in any order.

        Raises BadInput, before anything is generated, for a prompt that leaves no room in the context.
        """
        from bench.engines.decoding import Decoder

        jobs = self._jobs(requests)
        for stop in dict.fromkeys(request.sampling.stop for request in requests):
            end_ids, strings = self._stops(stop)
            decoder = Decoder(
                self.model,
                batch_size=self.batch_size,
                end_ids=sorted(end_ids),
                has_stopped=partial(self._has_stopped, strings) if strings else None,
                # A token is at least one byte; a few more, because a tail may begin inside a character.
                tail=max((len(s.encode()) for s in strings), default=0) + 4,
            )
            for group in decoder.run([job for job in jobs if job.request.sampling.stop == stop]):
                yield self._completions(group, strings)

    def classify(self, requests: Sequence[Request], head: Path) -> Iterator[list[Choice]]:
        """Yield chosen labels in batches; the one loaded body serves the head of each classifier.

        Raises BadInput, before anything is chosen, for a head that does not fit or a prompt that is too long.
        """
        from bench.engines.choosing import choices

        classifier = with_head(self.model.base_model, Path(head))
        yield from choices(classifier, self._tokens(requests, room=0), batch_size=self.batch_size)

    def close(self) -> None:
        """Let go of the model."""
        self.model = None

    def _jobs(self, requests: Sequence[Request]) -> list[Job]:
        from bench.engines.decoding import Job

        jobs = []
        for request, ids in self._tokens(requests, room=1):
            asked = request.sampling.max_new_tokens
            jobs.append(
                Job(request, ids, asked if self.context is None else min(asked, self.context - len(ids)))
            )
        return jobs

    def _tokens(self, requests: Sequence[Request], *, room: int) -> list[tuple[Request, list[int]]]:
        """Requests with the tokens of their prompts; `room` tokens must be left in the context."""
        if not requests:
            return []
        prompts = self.tokenizer([request.prompt for request in requests])["input_ids"]
        for request, ids in zip(requests, prompts, strict=True):
            if not ids or (self.context is not None and len(ids) + room > self.context):
                needs = " and an answer needs at least one" if room else ""
                raise BadInput(
                    f"a prompt of {len(ids)} tokens does not fit: the model's context is {self.context} "
                    f"tokens{needs}. The prompt begins {request.prompt[:80]!r}"
                )
        return list(zip(requests, prompts, strict=True))

    def _stops(self, stop: tuple[str, ...]) -> tuple[set[int], tuple[str, ...]]:
        """Stop strings as end tokens where the tokenizer has one special token for the string, else as text.

        Special tokens are left out of decoded text, so that as text they would never be seen.
        """
        special = {token: id for id, token in self._special_tokens().items()}
        ids = {special[s] for s in stop if s in special}
        return self.end_ids | ids, tuple(s for s in stop if s not in special)

    def _special_tokens(self) -> dict[int, str]:
        decoder = getattr(self.tokenizer, "added_tokens_decoder", {})
        return {id: str(token) for id, token in decoder.items() if token.special}

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _has_stopped(self, strings: tuple[str, ...], ids: list[int]) -> bool:
        return self._cut(ids, strings) is not None

    def _cut(self, ids: list[int], strings: tuple[str, ...]) -> str | None:
        """The decoded text up to the first stop string; None when there is none in it."""
        text = self._text(ids)
        found = [at for s in strings if (at := text.find(s)) >= 0]
        return text[: min(found)] if found else None

    def _completions(self, group: list[Tokens], strings: tuple[str, ...]) -> list[Completion]:
        answers = [self._finish(tokens, strings) for tokens in group]
        lengths = [len(ids) for ids in self.tokenizer([text for text, _, _ in answers])["input_ids"]]
        return [
            Completion(
                request=tokens.job.request,
                text=text,
                n_generated=n_generated,
                n_tokens_text=length,
                n_prompt_tokens=len(tokens.job.prompt),
                budget=tokens.job.budget,
                finish_reason=reason,
            )
            for tokens, (text, n_generated, reason), length in zip(group, answers, lengths, strict=True)
        ]

    def _finish(self, tokens: Tokens, strings: tuple[str, ...]) -> tuple[str, int, Literal["stop", "length"]]:
        """Text, tokens generated and finish reason.

        The text is stripped of outer white space, as the L2S protocol measures it. A response counts the
        tokens up to the one that completes its first stop string, however late that was noticed.
        """
        ids = tokens.ids
        text = self._cut(ids, strings) if strings else None
        if text is None:
            return self._text(ids).strip(), len(ids), "stop" if tokens.ended else "length"
        low, high = 1, len(ids)  # the shortest prefix with a stop string lies in low..high
        while low < high:
            middle = (low + high) // 2
            if self._cut(ids[:middle], strings) is None:
                low = middle + 1
            else:
                high = middle
        return text.strip(), low, "stop"


def _load(path: Path, dtype: str, device: str, answers: Answers) -> tuple[Any, Any]:
    import torch
    from transformers import AutoTokenizer

    require_tokenizer(path, str(path))
    model = (load_model if answers == "text" else load_body)(path, getattr(torch, dtype))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(f"transformers cannot load the tokenizer of {path}: {error}") from error
    return model.to(device), tokenizer


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Ids that end an answer: of generation config and config (number or list), else the tokenizer's."""
    ids: set[int] = set()
    for config in (model.generation_config, model.config.get_text_config()):
        value = getattr(config, "eos_token_id", None)
        ids |= set(value if isinstance(value, list) else [value]) - {None}
    return ids or {tokenizer.eos_token_id} - {None}


def _default_batch_size(config: Any, itemsize: int) -> int:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row = 2 * config.num_hidden_layers * heads * width * itemsize * TYPICAL_TOKENS
    return max(1, min(MAX_BATCH, CACHE_BYTES // row))
