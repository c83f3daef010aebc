"""Prompts that are too long for a model: found before any work, and named with what to do."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bench import engines
from bench.engines.contract import Request
from bench.errors import BadInput
from bench.evaluation.fitting import check_lengths, context_of, doubtful
from bench.evaluation.questions import Ask, Pool, check_prompts, pools
from bench.models.checkpoint import locate
from bench.suites import EvalOptions
from tasks.catalogue import resolve
from tests.bench import tiny
from tests.bench.command import bench

OPTIONS = EvalOptions(suite="gsm8k", limit=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GSM8K's layout, whose third question has a thousand words and whose others have three."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "gsm8k").mkdir()
    questions = ["What is 1 + 1?", "What is 2 + 1?", "apple " * 1000]
    rows = [json.dumps({"question": q, "answer": "#### 2"}) + "\n" for q in questions]
    (folder / "gsm8k" / "test.jsonl").write_text("".join(rows))
    return folder


def asked(data: Path, *more: str) -> list[Pool]:
    options = replace(OPTIONS, data_dir=data)
    return [pool for name in ("gsm8k", *more) for pool in pools(resolve(name), options)]


def test_what_does_not_fit_is_named_with_what_fits(data: Path) -> None:
    from transformers import AutoTokenizer

    path = locate("zoo:l2s-expert")
    questions = asked(data, "mini_gsm")
    longest = next(ask for pool in questions for ask in pool.asks if "apple" in ask.prompt)
    tokens = len(AutoTokenizer.from_pretrained(path)(longest.prompt)["input_ids"])
    with pytest.raises(BadInput) as refused:
        check_prompts(questions, [path])
    said = str(refused.value)
    assert (
        f"gsm8k: 1 of 3 prompts do not fit, the longest has {tokens:,} tokens (sample {longest.sample.id})"
        in said
    )
    assert "is 512 tokens" in said and "here: mini_gsm" in said and "longer context" in said
    check_prompts(pools(resolve("mini_gsm"), replace(OPTIONS, suite="mini_gsm")), [path])


@pytest.mark.parametrize(("n", "fits"), [(19, True), (20, False)])
def test_the_limit_is_the_engines_own(tmp_path: Path, n: int, fits: bool) -> None:
    """A tokenizer of one token a character and a context of 20: 19 characters leave room for one token."""
    path = tiny.write(tmp_path / "model", context=20)
    assert context_of(path) == 20
    [pool, *_] = pools(resolve("mini_gsm"), EvalOptions(suite="mini_gsm", limit=1))
    ask = replace(pool.asks[0], prompt="1" * n)
    engine = engines.load("hf", path, dtype="float32")
    request = Request("id", ask.prompt, pool.draw.sampling, 0)
    if fits:
        check_lengths([(pool, ask)], path)
        assert next(iter(engine.generate([request])))
        return
    for check in (lambda: check_lengths([(pool, ask)], path), lambda: next(iter(engine.generate([request])))):
        with pytest.raises(BadInput, match="20 tokens"):
            check()


def test_prompts_that_are_surely_short_enough_need_no_tokenizer() -> None:
    [pool, *_] = pools(resolve("mini_gsm"), EvalOptions(suite="mini_gsm", limit=2))
    short, long = pool.asks[0], replace(pool.asks[1], prompt="ü" * 3000)
    pair: list[tuple[Pool, Ask]] = [(pool, short), (pool, long)]
    assert doubtful(pair, 4096) == [(pool, long)] and doubtful(pair, None) == []


def test_the_command_says_it_before_anything_and_transformers_says_nothing(
    data: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(locate("zoo:l2s-expert"), tmp_path / "model")
    done = bench("eval", "--model", model, "--suite", "gsm8k", "--data-dir", data, "--engine", "hf",
                 cwd=tmp_path, code=2)  # fmt: skip
    assert "gsm8k: 1 of 3 prompts do not fit" in done.stderr and "What to do" in done.stderr
    assert "Token indices" not in done.stderr and not (tmp_path / "runs").exists()
