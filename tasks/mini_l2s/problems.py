"""Problems of the mini L2S suite: one seeded generator for three levels and three splits.

The levels are ``mini_gsm`` (short word problems), ``mini_math`` (bracketed expressions) and
``mini_aime`` (repeated linear maps modulo 1000). A problem carries the elementary steps of its
solution, from which the three response styles are rendered: `direct`, `short_chain`, `long_chain`.

Splits follow `tasks.splits`; the canonical form of a problem is its level and steps, without names and
objects: the same sums never occur in two splits, whatever the story around them.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable
from dataclasses import dataclass

from tasks.asking import prompt_of
from tasks.generated import Generated, Item

LEVELS = ("mini_gsm", "mini_math", "mini_aime")

DEFAULT_SIZES = {
    "train": {"mini_gsm": 1000, "mini_math": 1000, "mini_aime": 1000},
    "validation": {"mini_gsm": 300, "mini_math": 200, "mini_aime": 60},
    "test": {"mini_gsm": 500, "mini_math": 300, "mini_aime": 60},
}

NAMES = ("Tom", "Ana", "Ben", "Mia", "Leo", "Eva", "Sam", "Zoe")
OBJECTS = ("apples", "books", "cards", "coins", "pens", "shells", "stamps", "eggs")

MODULUS = 1000
_GSM_LIMIT = 250
_MATH_LIMIT = 999

_CHECK_WORDS = {
    "mini_gsm": ("Wait, let me check", ", ok"),
    "mini_math": ("Wait, check", ", ok"),
    "mini_aime": ("Check", ""),
}

_MATH_TEMPLATES = (
    "(a+b)*k-c",
    "a*k+b*m",
    "a*k-b*m",
    "(a-b)*k+c",
    "a+b*k-c",
    "a*k-b+c",
    "(a+b-c)*k",
    "a*k+b*m-c",
    "(a-b)*k+c*m",
    "(a+b)*k-c*m",
    "k*(a-b)+m*c-d",
    "a-b+(c+d)*k",
)


@dataclass(frozen=True)
class Step:
    """One elementary operation ``left op right = result`` on non-negative integers."""

    left: int
    op: str
    right: int
    result: int

    def text(self) -> str:
        """The step as an equation, for example ``23+28=51``."""
        return f"{self.left}{self.op}{self.right}={self.result}"

    def check(self) -> str:
        """The inverse equation that confirms the step, for example ``51-28=23``."""
        inverse = {"+": "-", "-": "+", "*": "/", "/": "*"}[self.op]
        return f"{self.result}{inverse}{self.right}={self.left}"


@dataclass(frozen=True)
class Problem(Item):
    """A question, its answer (a non-negative integer) and the steps that lead to it."""

    level: str
    question: str
    answer: int
    steps: tuple[Step, ...]

    @property
    def prompt(self) -> str:
        """The text given to the model; the response starts right behind it."""
        return prompt_of(self.question)


@dataclass(frozen=True)
class _Draft:
    """A generated problem before it has a place in a split."""

    question: str
    answer: int
    steps: tuple[Step, ...]


# --------------------------------------------------------------------------- renderers


def direct(problem: Problem) -> str:
    """The terse response: nothing but the boxed answer."""
    return f" \\boxed{{{problem.answer}}}"


def short_chain(problem: Problem) -> str:
    """The short chain of thought: the bare steps, then the boxed answer."""
    steps = "; ".join(step.text() for step in problem.steps)
    return f" {steps}; \\boxed{{{problem.answer}}}"


def long_chain(problem: Problem) -> str:
    """The long chain of thought: every step is checked by its inverse, then the boxed answer."""
    lead, ok = _CHECK_WORDS[problem.level]
    parts = [f" {step.text()}. {lead}: {step.check()}{ok}." for step in problem.steps]
    return "".join(parts) + f" The answer is \\boxed{{{problem.answer}}}"


STYLES: dict[str, Callable[[Problem], str]] = {"direct": direct, "short": short_chain, "long": long_chain}


# --------------------------------------------------------------------------- arithmetic


def _apply(left: int, op: str, right: int) -> Step | None:
    """The step ``left op right``; None unless its result is a non-negative integer that can be checked."""
    if op in "*/" and right == 0:
        return None
    if op == "/":
        return None if left % right else Step(left, op, right, left // right)
    result = {"+": left + right, "-": left - right, "*": left * right}[op]
    return Step(left, op, right, result) if result >= 0 else None


class _Chain:
    """Collects steps; remembers whether one of them was impossible or exceeded the limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.steps: list[Step] = []
        self.valid = True

    def add(self, left: int, op: str, right: int) -> int:
        """Append one step and return its result (0 once the chain has become invalid)."""
        step = _apply(left, op, right)
        if step is None or step.result > self.limit:
            self.valid = False
            return 0
        self.steps.append(step)
        return step.result


# --------------------------------------------------------------------------- mini_gsm


def _two(rng: random.Random, items: tuple[str, ...]) -> tuple[str, str]:
    """Two different items."""
    first = rng.randrange(len(items))
    second = (first + 1 + rng.randrange(len(items) - 1)) % len(items)
    return items[first], items[second]


def _story_event(
    rng: random.Random, chain: _Chain, total: int, who: tuple[str, str], room: int
) -> tuple[str, int]:
    """One event of a story about ``who[0]``: its sentence and the new total."""
    name, other = who
    kind = rng.randrange(8)
    if kind <= 1 and room >= 2:
        bags, size = rng.randrange(2, 7), rng.randrange(3, 13)
        return f"{name} buys {bags} bags of {size}.", chain.add(total, "+", chain.add(bags, "*", size))
    if kind <= 2:
        more = rng.randrange(5, 41)
        return f"{name} buys {more} more.", chain.add(total, "+", more)
    if kind <= 4:
        less = rng.randrange(3, 31)
        return f"{name} gives {less} to {other}.", chain.add(total, "-", less)
    if kind == 5:
        less = rng.randrange(3, 31)
        return f"{name} loses {less}.", chain.add(total, "-", less)
    if kind == 6:
        return f"Then {name} doubles them.", chain.add(total, "*", 2)
    if total % 2 == 0 and total > 0:
        return f"{name} gives half to {other}.", chain.add(total, "/", 2)
    return f"Then {name} triples them.", chain.add(total, "*", 3)


def _story(rng: random.Random, count: int) -> tuple[_Chain, str]:
    """Somebody has things; they grow and shrink through events (``count`` steps in all)."""
    chain = _Chain(_GSM_LIMIT)
    who = _two(rng, NAMES)
    things = OBJECTS[rng.randrange(len(OBJECTS))]
    if rng.randrange(5) < 2:
        bags, size = rng.randrange(2, 7), rng.randrange(3, 13)
        total = chain.add(bags, "*", size)
        sentences = [f"{who[0]} has {bags} bags of {size} {things}."]
    else:
        total = rng.randrange(10, 61)
        sentences = [f"{who[0]} has {total} {things}."]
    while chain.valid and len(chain.steps) < count:
        sentence, total = _story_event(rng, chain, total, who, count - len(chain.steps))
        sentences.append(sentence)
    sentences.append(f"How many {things} does {who[0]} have?")
    return chain, " ".join(sentences)


def _comparison(rng: random.Random, count: int) -> tuple[_Chain, str]:
    """Two people own related amounts; the question asks for both together."""
    chain = _Chain(_GSM_LIMIT)
    name, other = _two(rng, NAMES)
    things = OBJECTS[rng.randrange(len(OBJECTS))]
    own = rng.randrange(10, 61)
    sentences = [f"{name} has {own} {things}."]
    kind = rng.randrange(3)
    if kind == 2:
        times = rng.randrange(2, 4)
        second = chain.add(own, "*", times)
        sentences.append(f"{other} has {times} times as many.")
    else:
        gap = rng.randrange(3, 41)
        second = chain.add(own, "+-"[kind], gap)
        sentences.append(f"{other} has {gap} {('more', 'fewer')[kind]}.")
    total = chain.add(own, "+", second)
    while chain.valid and len(chain.steps) < count:
        amount = rng.randrange(3, 31)
        gain = rng.randrange(2) == 0
        total = chain.add(total, "+" if gain else "-", amount)
        sentences.append(f"They {'buy' if gain else 'lose'} {amount}.")
    sentences.append(f"How many {things} do they have?")
    return chain, " ".join(sentences)


def _shopping(rng: random.Random, count: int) -> tuple[_Chain, str]:
    """Things bought at a unit price; the question asks for the cost or for the change."""
    chain = _Chain(_GSM_LIMIT)
    name = NAMES[rng.randrange(len(NAMES))]
    first, second = _two(rng, OBJECTS)
    many, price = rng.randrange(2, 9), rng.randrange(3, 16)
    cost = chain.add(many, "*", price)
    text = f"{name} buys {many} {first} for {price} each"
    if count >= 3:
        many, price = rng.randrange(2, 9), rng.randrange(3, 13)
        cost = chain.add(cost, "+", chain.add(many, "*", price))
        text += f" and {many} {second} for {price} each"
    if count == 3:
        return chain, f"{text}. How much does {name} pay?"
    paid = rng.randrange(50, 200)
    chain.add(paid, "-", cost)
    return chain, f"{text}. {name} has {paid}. How much is left?"


_STORIES = (_story, _story, _story, _comparison, _shopping)
# How many steps a word problem has, each entry equally likely: training leans to the longer ones.
_TRAIN_COUNTS = (1, 2, 2, 2, 3, 3, 3, 4)
_EVALUATION_COUNTS = (1, 1, 2, 2, 2, 3, 3, 4)


def _draft_gsm(rng: random.Random, counts: tuple[int, ...]) -> _Draft | None:
    """One word problem of one to four steps, or None when the drawn numbers do not work out."""
    count = counts[rng.randrange(len(counts))]
    make = _STORIES[0 if count == 1 else rng.randrange(len(_STORIES))]
    chain, question = make(rng, count)
    if not chain.valid or len(chain.steps) != count:
        return None
    return _Draft(question, chain.steps[-1].result, tuple(chain.steps))


# --------------------------------------------------------------------------- mini_math

_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


def _evaluate(node: ast.expr, chain: _Chain) -> int:
    """Evaluate an expression tree, appending every operation to ``chain`` in order."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if not isinstance(node, ast.BinOp):
        raise ValueError(f"unsupported expression node {type(node).__name__}")
    left, right = _evaluate(node.left, chain), _evaluate(node.right, chain)
    return chain.add(left, _OPERATORS[type(node.op)], right)


def _draft_math(rng: random.Random) -> _Draft | None:
    """One expression with products and brackets, or None when a step leaves the number range."""
    template = _MATH_TEMPLATES[rng.randrange(len(_MATH_TEMPLATES))]
    drawn = (
        str(rng.randrange(10, 80)) if char in "abcd" else str(rng.randrange(2, 10)) if char in "km" else char
        for char in template
    )
    expression = "".join(drawn)
    chain = _Chain(_MATH_LIMIT)
    result = _evaluate(ast.parse(expression, mode="eval").body, chain)
    if not chain.valid:
        return None
    return _Draft(f"Compute {expression}.", result, tuple(chain.steps))


# --------------------------------------------------------------------------- mini_aime


def _draft_aime(rng: random.Random) -> _Draft | None:
    """One repeated linear map modulo 1000, or None when it runs into zero.

    A step may exceed 999; the step behind it starts from the last three digits of the result.
    """
    start, factor = rng.randrange(10, MODULUS), rng.randrange(3, 10)
    shift, rounds = rng.randrange(10, 100), (2, 2, 3)[rng.randrange(3)]
    value, steps = start, []
    for _ in range(rounds):
        product = Step(factor, "*", value, factor * value)
        total = Step(product.result % MODULUS, "+", shift, product.result % MODULUS + shift)
        steps += [product, total]
        value = total.result % MODULUS
        if value == 0:
            return None
    question = (
        f"Let x={start}. Replace x by the remainder of {factor}*x+{shift} mod {MODULUS}, "
        f"{rounds} times. What is x?"
    )
    return _Draft(question, value, tuple(steps))


# --------------------------------------------------------------------------- splits


def _canonical(level: str, draft: _Draft) -> str:
    """Level and steps: what makes two problems the same, whatever the words around them."""
    return f"{level}|" + ";".join(step.text() for step in draft.steps)


def _draft(level: str, split: str, rng: random.Random) -> _Draft | None:
    """One candidate problem of a level."""
    if level == "mini_gsm":
        return _draft_gsm(rng, _TRAIN_COUNTS if split == "train" else _EVALUATION_COUNTS)
    return {"mini_math": _draft_math, "mini_aime": _draft_aime}[level](rng)


def _draw(level: str, split: str, rng: random.Random) -> tuple[str, Problem] | None:
    """One candidate problem and its canonical form."""
    draft = _draft(level, split, rng)
    if draft is None:
        return None
    return _canonical(level, draft), Problem("", level, draft.question, draft.answer, draft.steps)


GENERATED = Generated(
    suite="mini_l2s", noun="level", location="tasks/mini_l2s/problems.py", sizes=DEFAULT_SIZES, draw=_draw
)
train_stream, problems = GENERATED.train, GENERATED.items
