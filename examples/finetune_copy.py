"""Fine-tune a copy of a small instruct model for a few dozen steps: an expert for a first real merge.

    python examples/finetune_copy.py BASE OUT --steps 16 --seed 0

The copy learns to answer grade-school word problems at length: every step is computed, checked backwards and
gone through again, and the answer comes in a box. The problems are made here from templates, so none belongs
to a benchmark, and every number in a solution is computed, so none is wrong. BASE is a folder or a Hub id;
OUT is a new folder.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, set_seed

# The Qwen2.5-Math chat format, with which GSM8K is asked too.
PROMPT = (
    "<|im_start|>system\n"
    "Please reason step by step, and put your final answer within \\boxed{{}}.<|im_end|>\n"
    "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
)
END = "<|im_end|>"
NAMES = ("Maya", "Tom", "Ines", "Omar", "Lena", "Ravi", "Sofia", "Ken")

# A question over the numbers a, b, c, d, and its steps: what is found, left operand, operator, right operand.
# r1, r2, ... are the results of the steps so far; the last one is the answer.
Step = tuple[str, str, str, str]
TEMPLATES: list[tuple[str, list[Step]]] = [
    (
        "{name} buys {a} boxes with {b} pencils in each box, gives {c} pencils to a friend and loses {d} "
        "more. How many pencils are left?",
        [
            ("the pencils bought", "a", "*", "b"),
            ("the pencils gone", "c", "+", "d"),
            ("the pencils left", "r1", "-", "r2"),
        ],
    ),
    (
        "{name} earns {a} dollars an hour and works {b} hours a day for {c} days. The train costs {d} "
        "dollars in all. How many dollars remain?",
        [
            ("the hours worked", "b", "*", "c"),
            ("the dollars earned", "r1", "*", "a"),
            ("the dollars that remain", "r2", "-", "d"),
        ],
    ),
    (
        "A school orders {a} red and {b} blue chairs and shares them equally among {c} rooms. Each room has "
        "{d} chairs already. How many chairs does a room have now?",
        [
            ("the chairs ordered", "a", "+", "b"),
            ("the new chairs in each room", "r1", "/", "c"),
            ("the chairs in a room now", "r2", "+", "d"),
        ],
    ),
    (
        "{name} reads {a} pages every day for {b} days and then {c} pages every day for {d} days. How many "
        "pages are that?",
        [
            ("the pages of the first days", "a", "*", "b"),
            ("the pages of the later days", "c", "*", "d"),
            ("all the pages", "r1", "+", "r2"),
        ],
    ),
    (
        "A baker makes {a} trays of {b} rolls and sells {c} of the rolls. The rest goes into bags of {d}. "
        "How many bags are filled?",
        [
            ("the rolls made", "a", "*", "b"),
            ("the rolls not sold", "r1", "-", "c"),
            ("the bags filled", "r2", "/", "d"),
        ],
    ),
]
# operator -> the one that undoes it, and what it does
OPERATORS = {
    "+": ("-", int.__add__),
    "-": ("+", int.__sub__),
    "*": ("/", int.__mul__),
    "/": ("*", int.__floordiv__),
}


def solve(question: str, steps: list[Step], numbers: dict[str, int]) -> str | None:
    """The worked solution, each step checked backwards; None if a result is no whole number of at least 1."""
    known = dict(numbers)
    worked, again = [], []
    for i, (what, left, operator, right) in enumerate(steps, 1):
        x, y = known[left], known[right]
        inverse, apply = OPERATORS[operator]
        result = known[f"r{i}"] = apply(x, y)
        if result < 1 or (operator == "/" and result * y != x):
            return None
        worked.append(
            f"Step {i}: I need {what}. That is {x} {operator} {y} = {result}.\n"
            f"Let me check this: {result} {inverse} {y} = {x}, which is right. So {what}: {result}."
        )
        again.append(
            f"Step {i} says that {what} are {x} {operator} {y}, and {x} {operator} {y} = {result}. Right."
        )
    parts = [
        "Let me work through this slowly, one step at a time, and check every step.",
        f"The question is: {question}",
        f"I have to find {', then '.join(what for what, *_ in steps)}.",
        *worked,
        "Before I answer, let me go through all the steps once more.",
        *again,
        f"Both times I came to the same result, so the answer is {result}.\n\\boxed{{{result}}}",
    ]
    return "\n\n".join(parts)


def problems(seed: int) -> Iterator[tuple[str, str]]:
    """Endless (question, worked solution) pairs, the same for the same seed."""
    rng = random.Random(seed)
    while True:
        template, steps = rng.choice(TEMPLATES)
        numbers = {letter: rng.randint(2, 30) for letter in "abcd"}
        question = template.format(name=rng.choice(NAMES), **numbers)
        solution = solve(question, steps, numbers)
        if solution is not None:
            yield question, solution


def batch(tokenizer: PreTrainedTokenizerBase, pairs: list[tuple[str, str]]) -> dict[str, torch.Tensor]:
    """Right-padded token ids [B, T]; the loss sees the solutions only (labels -100 elsewhere)."""
    prompts = [tokenizer(PROMPT.format(question=q), add_special_tokens=False).input_ids for q, _ in pairs]
    answers = [tokenizer(s + END, add_special_tokens=False).input_ids for _, s in pairs]
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    ids = torch.zeros(len(pairs), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        ids[row, : len(p) + len(a)] = torch.tensor(p + a)
        labels[row, len(p) : len(p) + len(a)] = torch.tensor(a)
        mask[row, : len(p) + len(a)] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tune a copy of a small instruct model.")
    parser.add_argument("base", help="folder or Hub id of the model to copy")
    parser.add_argument("out", type=Path, help="new folder to write")
    parser.add_argument("--steps", type=int, default=16, help="optimizer steps (16)")
    parser.add_argument("--batch", type=int, default=4, help="problems in a step (4)")
    parser.add_argument("--lr", type=float, default=1e-4, help="peak learning rate of AdamW (1e-4)")
    parser.add_argument("--seed", type=int, default=0, help="of the problems (0)")
    args = parser.parse_args()
    if args.out.exists():
        parser.error(f"{args.out} exists: name a new folder")

    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = AutoModelForCausalLM.from_pretrained(args.base, dtype="auto")
    stored = model.dtype
    model.float().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    pairs, start = problems(args.seed), time.monotonic()
    for step in range(args.steps):
        for group in optimizer.param_groups:  # warm up over five steps, then fall linearly
            group["lr"] = args.lr * min((step + 1) / 5, 1 - step / args.steps)
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast on a CPU that has bfloat16 instructions
            loss = model(**batch(tokenizer, [next(pairs) for _ in range(args.batch)])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds = time.monotonic() - start
        print(f"step {step + 1}/{args.steps}  loss {loss.item():.3f}  {seconds:.0f} s", flush=True)

    # bfloat16 keeps 8 bits of a weight: with a learning rate of 2e-5 it would round most changes away.
    model.to(stored).save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
