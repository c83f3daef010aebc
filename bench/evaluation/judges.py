"""Judges: which model judges, and verdicts from what judges have said. Nothing is generated here.

A judge's answer is a response like any other: its checkpoint is the judge, its benchmark `judge:GRADER`, its document
what it was asked. Verdicts are made of stored answers alone, so that they can be made again without the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import engines
from bench.errors import BadInput
from bench.identity import text_hash
from tasks.contract import Answer, AnyGrader, Benchmark, JudgedGrader, Prompt, Verdict

if TYPE_CHECKING:
    from bench.suites import EvalOptions
    from results.store import Store

Row = Mapping[str, Any]
PREFIX = "judge:"  # of the benchmark that a judge's answers are stored under
MARK = 8  # characters of a judge's fingerprint in the version of its verdicts


@dataclass(frozen=True)
class Judged:
    """A judged grader with one judge: its name (empty for the usual one) and its fingerprint.

    Other judges are other graders, beside the first; the same name with other weights is another version.
    """

    grader: JudgedGrader
    judge: str
    mark: str

    @property
    def name(self) -> str:
        """The name of its verdicts and scores: `wildguard`, or `wildguard:NAME` with another judge."""
        return f"{self.grader.name}:{self.judge}" if self.judge else self.grader.name

    @property
    def version(self) -> str:
        """The version of its verdicts: the grader's own, and whose answers they are made of."""
        return f"{self.grader.version}+{self.mark[:MARK]}"

    @property
    def asked_as(self) -> str:
        """The benchmark of the judge's answers."""
        return PREFIX + self.name

    def verdicts(self, responses: Sequence[Row], store: Store) -> dict[str, Verdict]:
        """Verdicts by response id; responses that the judge has said nothing of have none."""
        answers = [answer_of(row) for row in responses]
        documents = [document_of(request.prompt) for request in self.grader.requests(answers)]
        words = self.words(documents, store)
        known = [place for place, document in enumerate(documents) if document in words]
        found = self.grader.verdicts([answers[k] for k in known], [words[documents[k]] for k in known])
        return {responses[k]["response_id"]: verdict for k, verdict in zip(known, found, strict=True)}

    def words(self, documents: Sequence[str], store: Store) -> dict[str, str]:
        """What is stored of the judge, by document; of answers from several engines the newest."""
        rows = store.rows(
            "SELECT document_hash, text FROM responses WHERE benchmark = $benchmark AND checkpoint = $mark "
            "AND document_hash IN (SELECT unnest($documents)) ORDER BY created_at, response_id",
            {"benchmark": self.asked_as, "mark": self.mark, "documents": list(documents)},
        )
        return {row["document_hash"]: row["text"] for row in rows}


def answer_of(row: Row) -> Answer:
    """A stored response as a grader sees it."""
    return Answer(row["question"], row["text"], row["target"], row["reference"])


def document_of(prompt: Prompt) -> str:
    """Identity of what a judge is asked, before its own template makes a text of turns. Equal requests are one."""
    turns = [prompt] if isinstance(prompt, str) else [f"{turn.role}\x01{turn.content}" for turn in prompt]
    return text_hash("\x00".join(turns))


def judged_graders(benchmark: Benchmark) -> list[JudgedGrader]:
    """Those graders of a benchmark whose verdicts rest on a judge."""
    made = [make() for make in (benchmark.grader, *benchmark.also_graded_by)]
    return [grader for grader in made if isinstance(grader, JudgedGrader)]


# The judges whose verdicts a grader gives: one that is asked, or all that have said something.
JudgesOf = Callable[[JudgedGrader], Sequence[Judged]]


def with_judges(graders: Sequence[AnyGrader], judges: JudgesOf | None) -> list[AnyGrader | Judged]:
    """The graders that can grade: a judged one once for each of its judges."""
    found: list[AnyGrader | Judged] = []
    for grader in graders:
        found += (judges(grader) if judges else ()) if isinstance(grader, JudgedGrader) else (grader,)
    return found


def stored_judges(store: Store, options: EvalOptions) -> JudgesOf:
    """The judges that have said something, the usual one first; with --judge that one alone."""

    def of(grader: JudgedGrader) -> list[Judged]:
        usual = PREFIX + grader.name
        rows = store.rows(
            "SELECT benchmark, checkpoint FROM responses WHERE benchmark = $usual OR starts_with(benchmark, $other) "
            "GROUP BY ALL ORDER BY benchmark, max(created_at)",
            {"usual": usual, "other": usual + ":"},
        )
        newest = {row["benchmark"]: row["checkpoint"] for row in rows}  # of one name, the weights used last
        found = [Judged(grader, name[len(usual) + 1 :], mark) for name, mark in newest.items()]
        return [one for one in found if not options.judge or one.judge == label_of(options.judge, grader)]

    return of


def label_of(spec: str, grader: JudgedGrader) -> str:
    """What tells a judge's verdicts from the usual judge's: its name; nothing where it is the usual one's."""
    from bench.choice import short

    return "" if short(spec) == short(grader.judge) else short(spec)


class Judge:
    """The model `spec` as a judge, and the engine that it answers on. Raises BadInput where it cannot judge."""

    def __init__(self, spec: str, options: EvalOptions) -> None:
        from bench.models.checkpoint import locate
        from bench.models.loading import require_tokenizer

        self.spec = spec
        self.path: Path = locate(spec)
        require_tokenizer(self.path, spec)
        url = options.judge_url or (options.server_url if options.judge_engine == "server" else None)
        asked = options.judge_engine or ("server" if url else "auto")
        given = {"batch_size", "threads", "tensor_parallel", "gpu_memory", "concurrency"} & engines.takes(
            asked
        )
        self.options = {name: getattr(options, name) for name in given}
        if asked == "server" and not url:
            raise BadInput("engine server needs an address: --judge-url http://HOST:PORT/v1.")
        if "server_url" in engines.takes(asked):
            self.options["server_url"] = url
        elif url:
            raise BadInput(
                f"engine {asked} does not take --judge-url (given: {url}): leave out --judge-engine"
            )
        self.engine, _ = engines.chosen(asked, self.path, **self.options)
        self.family, self.dtype = engines.engine_identity(self.engine, self.path, **self.options)


def judge_of(benchmark: str, grader: JudgedGrader, options: EvalOptions) -> Judge:
    """The judge that the options mean for a grader. Raises BadInput, with what to do, where there is none."""
    try:
        return Judge(options.judge or grader.judge, options)
    except BadInput as error:
        which = "" if options.judge else f", by default {grader.judge}"
        raise BadInput(
            f"{benchmark} is graded by a judge{which}: {error} Name one with --judge, or leave grading for later "
            "with --no-judge: answers are stored then, and scores are missing."
        ) from error


def check_judges(benchmarks: Iterable[Benchmark], options: EvalOptions) -> None:
    """Refuse, before any work, benchmarks whose judge is not there."""
    if options.no_judge and (options.judge or options.judge_engine or options.judge_url):
        raise BadInput("--no-judge with --judge, --judge-engine or --judge-url: say one or the other")
    asked: set[str] = set()
    for benchmark in () if options.no_judge else benchmarks:
        for grader in judged_graders(benchmark):
            if (spec := options.judge or grader.judge) not in asked:
                judge_of(benchmark.name, grader, options)
                asked.add(spec)
