"""The step between answering and grading: judges say what they think of stored answers that have no verdict yet.

The evaluated model's engine is closed by then. What a judge says is spooled as it comes, under ids that are known
beforehand: nothing is judged twice, and a killed run goes on. Two answers with the same text to the same request are
one question to a judge.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import engines
from bench.engines.contract import Completion, Engine, Request
from bench.engines.texts import PromptTooLong, load_tokenizer
from bench.evaluation.fitting import SPECIAL, context_of
from bench.evaluation.judges import Judge, Judged, answer_of, document_of, judge_of, judged_graders, label_of
from bench.evaluation.progress import bar
from bench.identity import fingerprint, response_id, seed_of, text_hash
from tasks.contract import JudgedGrader, JudgeRequest

if TYPE_CHECKING:
    from bench.evaluation.questions import Pool
    from bench.evaluation.target import EvalTarget
    from bench.suites import EvalOptions
    from results.spool import Spool
    from results.store import Store

Row = Mapping[str, Any]
SUITE, DRAW, VERSION = "judges", "judge", "1"  # what the rows of judges' answers have there
CHUNK = 1024


@dataclass
class Judgement:
    """What judges were asked: how many answers they looked at, and how many of those were too long for them."""

    said: int = 0
    too_long: int = 0
    seconds: float = 0.0

    def sentence(self) -> str:
        """In words, empty where no judge was asked."""
        if not self.said:
            return ""
        long = f" ({self.too_long:,} too long for the judge)" if self.too_long else ""
        return f"{self.said:,} judged in {self.seconds:.1f} s{long}"


@dataclass(frozen=True)
class _Open:
    """A question to a judge that is not answered yet: about the stored answer `row`."""

    judged: Judged
    request: JudgeRequest
    document: str
    row: Row


class Judges:
    """The judges that options mean, located and hashed when they are needed; `memory` remembers fingerprints."""

    def __init__(self, options: EvalOptions, memory: Path) -> None:
        self.options, self.memory = options, memory
        self._models: dict[str, tuple[Judge, str]] = {}

    def of(self, grader: JudgedGrader) -> list[Judged]:
        """A grader with its judge."""
        judge, mark = self.model(grader)
        return [Judged(grader, label_of(judge.spec, grader), mark)]

    def model(self, grader: JudgedGrader) -> tuple[Judge, str]:
        """The judge of a grader and its fingerprint."""
        spec = self.options.judge or grader.judge
        if spec not in self._models:
            judge = judge_of(f"what {grader.name} grades", grader, self.options)
            self._models[spec] = judge, fingerprint(judge.path, self.memory)
        return self._models[spec]

    def ask(
        self, target: EvalTarget, pools: Sequence[Pool], ids: Sequence[list[str]], *,
        store: Store, spool: Spool, progress: bool,
    ) -> Judgement:  # fmt: skip
        """Have everything judged that is stored and has no verdict; `ids` are those of each pool's responses."""
        by_spec: dict[str, list[_Open]] = {}
        judges: dict[str, Judge] = {}
        for pool, own in zip(pools, ids, strict=True):
            for grader in judged_graders(pool.benchmark):
                judge, _ = self.model(grader)
                judges[judge.spec] = judge
                for judged in self.of(grader):
                    by_spec.setdefault(judge.spec, []).extend(_open(judged, own, store))
        done = Judgement()
        for spec, asked in by_spec.items():
            if asked:
                _ask(judges[spec], asked, target, done, spool=spool, progress=progress)
                store.ingest()
        return done


def _open(judged: Judged, ids: Sequence[str], store: Store) -> Iterator[_Open]:
    """What a judge must still be asked about these responses, each different question once."""
    by = {"grader": judged.name, "grader_version": judged.version}
    seen: set[str] = set()
    for chunk in (ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)):
        graded = {row["response_id"] for row in store.fetch("verdicts", chunk, **by)}
        rows = store.fetch("responses", [id for id in chunk if id not in graded])
        requests = judged.grader.requests([answer_of(row) for row in rows])
        documents = [document_of(request.prompt) for request in requests]
        seen |= judged.words(documents, store).keys()
        for row, request, document in zip(rows, requests, documents, strict=True):
            if document not in seen:
                seen.add(document)
                yield _Open(judged, request, document, row)


def _ask(
    judge: Judge, asked: Sequence[_Open], target: EvalTarget, done: Judgement, *, spool: Spool, progress: bool
) -> None:  # fmt: skip
    """Ask one judge, loaded once, and spool what it says."""
    waiting: dict[str, tuple[_Open, Request]] = {}
    prompts = _texts(judge, asked)
    for one, prompt in zip(asked, prompts, strict=True):
        request = Request(_id(judge, one, prompt), prompt, one.request.sampling, seed_of(one.document, 0))
        waiting[request.id] = one, request
    long = _too_long(judge, [request for _, request in waiting.values()])
    engine = engines.load(judge.engine, judge.path, answers="text", **judge.options)
    started = time.perf_counter()
    with (
        closing(engine),
        bar(f"{target.name}: judged by {judge.spec}", len(waiting), show=progress) as advance,
    ):
        for found in _said(engine, [request for _, request in waiting.values()], long):
            rows = [_row(engine, *waiting[request.id], target, completion) for request, completion in found]
            spool.append_many("responses", rows)
            done.said += len(rows)
            done.too_long += sum(completion is None for _, completion in found)
            advance(len(rows))
    done.seconds += time.perf_counter() - started


def _texts(judge: Judge, asked: Sequence[_Open]) -> list[str]:
    """What is asked as text: turns in the judge's own chat template."""
    prompts = [one.request.prompt for one in asked]
    if all(isinstance(prompt, str) for prompt in prompts):
        return [str(prompt) for prompt in prompts]
    from bench.models.chat import ChatTemplate

    template = ChatTemplate(judge.path)
    return [prompt if isinstance(prompt, str) else template.text(prompt) for prompt in prompts]


def _too_long(judge: Judge, requests: Sequence[Request]) -> set[str]:
    """Ids of requests without room behind them in the judge's context; only doubtful ones are tokenised."""
    context = context_of(judge.path)
    doubtful = [r for r in requests if context is not None and len(r.prompt.encode()) + SPECIAL > context]
    if context is None or not doubtful:
        return set()
    encoded = load_tokenizer(judge.path)([r.prompt for r in doubtful])["input_ids"]
    return {r.id for r, ids in zip(doubtful, encoded, strict=True) if len(ids) + 1 > context}


def _said(
    engine: Engine, requests: Sequence[Request], long: set[str]
) -> Iterator[list[tuple[Request, Completion | None]]]:
    """What the judge says, in groups as they finish; None of what is too long for it, which is not asked."""
    if long:
        yield [(request, None) for request in requests if request.id in long]
    left = {request.id: request for request in requests if request.id not in long}
    while left:
        try:
            for completions in engine.generate([*left.values()]):
                for completion in completions:
                    del left[completion.request.id]
                yield [(completion.request, completion) for completion in completions]
        except PromptTooLong as error:  # a server may have less context than the model
            yield [(left.pop(error.request.id), None)]


def _id(judge: Judge, one: _Open, prompt: str) -> str:
    return response_id(
        checkpoint=one.judged.mark,
        benchmark=one.judged.asked_as,
        benchmark_version=VERSION,
        document_hash=one.document,
        prompt_hash=text_hash(prompt),
        sampling=one.request.sampling,
        sample_index=0,
        engine=judge.family,
        dtype=judge.dtype,
    )


def _row(
    engine: Engine, one: _Open, request: Request, target: EvalTarget, said: Completion | None
) -> dict[str, Any]:  # fmt: skip
    """A row of `responses`; a question that was too long has an empty answer, cut off before its first token."""
    sampling = request.sampling
    return {
        "response_id": request.id,
        "checkpoint": one.judged.mark,
        "suite": SUITE,
        "benchmark": one.judged.asked_as,
        "benchmark_version": VERSION,
        "split": one.row["split"],
        "source": f"response {one.row['response_id']} of {target.fingerprint} to {one.row['benchmark']}",
        "draw": DRAW,
        "sample_id": one.row["response_id"],
        "document_hash": one.document,
        "prompt_hash": text_hash(request.prompt),
        "question": request.prompt,
        "target": "",
        "prompt_mode": one.judged.grader.name,
        "sample_index": 0,
        "seed": request.seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_new_tokens": sampling.max_new_tokens,
        "budget": said.budget if said else 0,
        "engine": engine.family,
        "dtype": engine.dtype,
        "text": said.text if said else "",
        "n_generated": said.n_generated if said else 0,
        "n_tokens_text": said.n_tokens_text if said else 0,
        "n_prompt_tokens": said.n_prompt_tokens if said else None,
        "finish_reason": said.finish_reason if said else "length",
    }
