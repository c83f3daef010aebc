"""One contender of `make perf-eval`, as a process of its own: `python eval_child.py KIND ASKED.json FOUND.json`.

Runs in the environment of the tool that it measures; only what that tool needs is imported.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Answer = Callable[[Sequence[str], int], list[str]]  # texts of prompts, greedily, under a budget
WARM_PROMPTS, WARM_TOKENS = 2, 4


def ours(asked: dict[str, Any], engine: str) -> tuple[Answer, Any]:
    """An engine of this project, through its contract; and how many it runs together."""
    from bench import engines
    from bench.engines.contract import Request
    from tasks.contract import Sampling

    loaded = engines.load(engine, Path(asked["model"]), dtype=asked["dtype"], batch_size=asked["batch_size"])

    def answer(prompts: Sequence[str], budget: int) -> list[str]:
        requests = [Request(str(i), prompt, Sampling(budget), seed=i) for i, prompt in enumerate(prompts)]
        found = {c.request.id: c.text for group in loaded.generate(requests) for c in group}
        return [found[request.id] for request in requests]

    return answer, loaded.batch_size


def vllm_alone(asked: dict[str, Any]) -> tuple[Answer, Any]:
    """vLLM as its documentation says: LLM.generate over all prompts."""
    from vllm import LLM, SamplingParams

    more = {} if asked["batch_size"] is None else {"max_num_seqs": asked["batch_size"]}
    llm = LLM(model=asked["model"], dtype=asked["dtype"], generation_config="vllm", **more)

    def answer(prompts: Sequence[str], budget: int) -> list[str]:
        outputs = llm.generate(
            list(prompts), SamplingParams(temperature=0.0, max_tokens=budget), use_tqdm=False
        )
        return [output.outputs[0].text for output in outputs]

    return answer, llm.llm_engine.vllm_config.scheduler_config.max_num_seqs


def lm_eval(asked: dict[str, Any]) -> tuple[Answer, Any]:
    """lm-eval's own `hf` model, asked as its tasks ask it."""
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = HFLM(
        pretrained=asked["model"], dtype=asked["dtype"], batch_size=asked["batch_size"], device=device
    )

    def answer(prompts: Sequence[str], budget: int) -> list[str]:
        settings = {"until": [], "do_sample": False, "max_gen_toks": budget}
        return model.generate_until(
            [Instance("generate_until", {}, (prompt, settings), i) for i, prompt in enumerate(prompts)],
            disable_tqdm=True,
        )

    return answer, asked["batch_size"]


def main() -> None:
    """Load, warm up, answer with the clock running, and write down what was found."""
    kind, source, sink = sys.argv[1:]
    asked = json.loads(Path(source).read_text())
    started = time.perf_counter()
    if kind in ("hf", "vllm"):
        answer, batch = ours(asked, kind)
    else:
        answer, batch = {"vllm alone": vllm_alone, "lm-eval": lm_eval}[kind](asked)
    answer(asked["prompts"][:WARM_PROMPTS], WARM_TOKENS)
    loaded = time.perf_counter()
    texts = answer(asked["prompts"], asked["budget"])
    seconds = time.perf_counter() - loaded
    from transformers import AutoTokenizer

    # Counted alike for everyone: the texts' own tokens.
    tokenizer = AutoTokenizer.from_pretrained(asked["model"])
    tokens = sum(
        len(ids) for ids in tokenizer([t.strip() for t in texts], add_special_tokens=False)["input_ids"]
    )
    found = {
        "tokens": tokens,
        "seconds": seconds,
        "loading": loaded - started,
        "batch": batch,
        "texts": texts,
    }
    Path(sink).write_text(json.dumps(found))


if __name__ == "__main__":  # vLLM starts processes that import this file again
    main()
