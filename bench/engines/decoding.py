"""The decoding loop of the `hf` engine: a batch of slots that is refilled as responses finish.

Prompts are taken longest first. All rows are right-aligned in one cache, so a new prompt is never wider than
the rows that are still running and moves into a free slot without touching them. Imports torch and
transformers; only a loaded engine imports this module.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from bench.engines.sampling import choose, logprobs, uniforms
from bench.engines.slot_cache import SlotCache
from bench.engines.texts import Job, Tokens

PREFILL_TOKENS = 8192  # prompt tokens, padding included, of one forward pass
CHECK_EVERY = 8  # tokens between two looks for stop strings
REFILL_SHARE = 8  # refill when one slot in this many is free
TRIM_COLUMNS = 32  # unused columns that are worth the copy that removes them
# What a batch knows of its rows beside their caches.
ROWS = ("pad", "count", "budget", "written", "logprobs", "ended", "live", "temperature", "top_p", "uniform")


class Decoder:
    """Runs jobs through a model. `has_stopped(ids)` looks for a stop string in a response's tail."""

    def __init__(
        self,
        model: Any,
        *,
        batch_size: int,
        end_ids: Sequence[int],
        has_stopped: Callable[[list[int]], bool] | None,
        tail: int,
    ) -> None:
        self.model, self.batch_size, self.has_stopped = model, batch_size, has_stopped
        self.device = model.device
        self.end_ids = torch.tensor(list(end_ids), dtype=torch.long, device=self.device)
        self.tail = tail + CHECK_EVERY
        self.slots: list[Job | None] = []

    @torch.inference_mode()
    def run(self, jobs: Sequence[Job]) -> Iterator[list[Tokens]]:
        """Yield finished responses in small groups, as they finish."""
        # Longest first, and equal prompts side by side.
        pending = deque(sorted(jobs, key=lambda job: (len(job.prompt), job.prompt), reverse=True))
        steps = 0
        while pending or any(self.slots):
            finished = self._refill(pending) if self._wants_refill(pending) else []
            if any(self.slots):
                self._tidy(bool(pending))
                finished += self._step()
                steps += 1
                if self.has_stopped is not None and steps % CHECK_EVERY == 0:
                    finished += self._stopped()
            if finished:
                yield finished

    def _wants_refill(self, pending: deque[Job]) -> bool:
        free = sum(job is None for job in self.slots)
        return bool(pending) and (free == len(self.slots) or free * REFILL_SHARE >= len(self.slots))

    def _refill(self, pending: deque[Job]) -> list[Tokens]:
        """Start pending jobs in the free slots; returns those that end with their first token."""
        if not any(self.slots):
            self._reset(min(self.batch_size, len(pending)), len(pending[0].prompt), pending)
        free = [slot for slot, job in enumerate(self.slots) if job is None]
        while free and pending:
            # As many as fit one forward pass; the first is the longest.
            size = max(1, min(len(free), len(pending), PREFILL_TOKENS // len(pending[0].prompt)))
            jobs = [pending.popleft() for _ in range(size)]
            self._prefill(torch.tensor(free[:size], device=self.device), jobs)
            free = free[size:]
        return self._collect()

    def _reset(self, n_slots: int, width: int, pending: deque[Job]) -> None:
        """An empty batch for the jobs to come, `width` columns wide."""

        def empty(dtype: torch.dtype, *shape: int) -> torch.Tensor:
            return torch.zeros(n_slots, *shape, dtype=dtype, device=self.device)

        longest = max(job.budget for job in pending)
        sampled = any(job.request.sampling.temperature > 0 for job in pending)
        self.slots = [None] * n_slots
        self.cache, self.width = SlotCache(), width
        self.pad = torch.full((n_slots,), width, device=self.device)  # first column of each row
        self.count, self.budget = empty(torch.long), empty(torch.long)  # tokens written, and allowed
        self.written = empty(torch.long, longest)
        self.ended = empty(torch.bool)
        self.live = empty(torch.bool)
        self.temperature, self.top_p = empty(torch.float64), empty(torch.float64)
        self.uniform = empty(torch.float64, longest if sampled else 1)
        self.logprobs = empty(
            torch.float32, longest if sampled else 1
        )  # of what is written, for sampled rows

    def _prefill(self, slots: torch.Tensor, jobs: list[Job]) -> None:
        """Run the prompts of `jobs`, put them into `slots` and choose their first tokens.

        The responses of a pool share their prompt, which is run once.
        """
        prompts = list(dict.fromkeys(tuple(job.prompt) for job in jobs))
        places = {prompt: row for row, prompt in enumerate(prompts)}
        rows = torch.tensor([places[tuple(job.prompt)] for job in jobs], device=self.device)
        width = max(map(len, prompts))
        pad = torch.tensor([width - len(prompt) for prompt in prompts], device=self.device)
        padded = torch.tensor([(0,) * (width - len(p)) + p for p in prompts], device=self.device)
        cache = SlotCache()
        logits = self._forward(padded, pad, cache)
        if self.cache.width == 0:
            self._allocate(cache)
        self.cache.adopt(slots, cache, rows)
        self.pad[slots] = pad[rows] + self.width - width
        self._enter(slots, jobs)
        self._take(slots, logits[rows])

    def _allocate(self, sample: SlotCache) -> None:
        """Give the batch's cache its buffers, in the shapes that the first prefill has shown."""
        n = len(self.slots)
        for index, layer in enumerate(sample.layers):
            shapes = [(n, t.shape[1], self.width, t.shape[3]) for t in (layer.keys, layer.values)]
            # Zeros, not garbage: a masked column counts 0 times its value, and 0 times NaN is NaN.
            self.cache.update(*(layer.keys.new_zeros(shape) for shape in shapes), index)

    def _enter(self, slots: torch.Tensor, jobs: list[Job]) -> None:
        """Write down what `slots` now hold."""
        samplings = [job.request.sampling for job in jobs]
        for slot, job in zip(slots.tolist(), jobs, strict=True):
            self.slots[slot] = job
            if job.request.sampling.temperature > 0:
                self.uniform[slot, : job.budget] = uniforms(job.request.seed, job.budget).to(self.device)
        self.count[slots] = 0
        self.budget[slots] = torch.tensor([job.budget for job in jobs], device=self.device)
        self.temperature[slots] = self.temperature.new_tensor([s.temperature for s in samplings])
        self.top_p[slots] = self.top_p.new_tensor([s.top_p for s in samplings])
        self.ended[slots] = False
        self.live[slots] = True

    def _forward(self, ids: torch.Tensor, pad: torch.Tensor, cache: SlotCache) -> torch.Tensor:
        """Logits [rows, vocabulary] behind the last of `ids` [rows, new columns]; extends `cache`."""
        columns = torch.arange(cache.width + ids.shape[1], device=self.device)
        positions = (columns[cache.width :] - pad[:, None]).clamp(min=0)
        output = self.model(
            input_ids=ids,
            attention_mask=(columns >= pad[:, None]).long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()

    def _step(self) -> list[Tokens]:
        """One more token for every row."""
        rows = torch.arange(len(self.slots), device=self.device)
        last = self.written[rows, (self.count - 1).clamp(min=0)]
        logits = self._forward(last[:, None], self.pad, self.cache)
        self.width += 1
        self._take(rows, logits)
        return self._collect()

    def _take(self, slots: torch.Tensor, logits: torch.Tensor) -> None:
        """Choose and note the next token of `slots`. Free slots run along; what they write is never read."""
        count = self.count[slots]
        at = count.clamp(max=self.written.shape[1] - 1)
        uniform = self.uniform[slots, at.clamp(max=self.uniform.shape[1] - 1)]
        chosen = choose(logits, self.temperature[slots], self.top_p[slots], uniform)
        self.written[slots, at] = chosen
        if self.logprobs.shape == self.written.shape:
            self.logprobs[slots, at] = logprobs(logits, chosen)
        self.ended[slots] = torch.isin(chosen, self.end_ids)
        self.count[slots] = count + self.live[slots]

    def _collect(self) -> list[Tokens]:
        """Take finished rows out of the batch."""
        done = (self.live & (self.ended | (self.count >= self.budget))).nonzero().squeeze(-1).tolist()
        return [self._leave(slot, ended=bool(self.ended[slot])) for slot in done]

    def _stopped(self) -> list[Tokens]:
        """Take rows out of the batch in which a stop string has appeared."""
        assert self.has_stopped is not None
        finished = []
        for slot in self.live.nonzero().squeeze(-1).tolist():
            count = int(self.count[slot])
            if self.has_stopped(self.written[slot, max(0, count - self.tail) : count].tolist()):
                finished.append(self._leave(slot, ended=False))
        return finished

    def _leave(self, slot: int, *, ended: bool) -> Tokens:
        job = self.slots[slot]
        assert job is not None
        self.slots[slot] = None
        self.live[slot] = False
        count = int(self.count[slot])
        ids = self.written[slot, : count - ended].tolist()
        sampled = job.request.sampling.temperature > 0
        return Tokens(job, ids, ended, self.logprobs[slot, :count].tolist() if sampled else None)

    def _tidy(self, more_to_come: bool) -> None:
        """Drop columns that no running row uses and, when nothing is left to fill them, free slots."""
        free = ~self.live
        self.pad[free] = self.width
        unused = int(self.pad.min())
        if unused >= TRIM_COLUMNS:
            self.cache.trim(unused)
            self.pad -= unused
            self.width -= unused
        n_free = int(free.sum())
        if not more_to_come and n_free * 4 >= len(self.slots):
            self._keep(self.live.nonzero().squeeze(-1))

    def _keep(self, rows: torch.Tensor) -> None:
        """Shrink the batch to `rows`."""
        self.cache.keep(rows)
        self.slots = [self.slots[row] for row in rows.tolist()]
        for name in ROWS:
            setattr(self, name, getattr(self, name)[rows])
