"""How problems of programming are asked: texts to go on from, and MBPP's three worked examples."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.contract import Sample

# Strings that end a completed function: what follows is no longer the function (Chen et al., arXiv 2107.03374).
FUNCTION_ENDS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
EXAMPLE_ENDS = ("[DONE]",)
# The stop words of the BigCode evaluation harness for MBPP.
DOCSTRING_ENDS = ("\nclass", "\nassert", '\n"""', "\nprint", "\nif", "\n<|/", "\n```")
SHOWN_TESTS = 3

# Tasks 2, 3 and 4 of MBPP (Austin et al., arXiv 2108.07732), as lm-eval shows them, line ends included.
_EXAMPLES = (
    (
        "Write a function to find the similar elements from the given two tuple lists.",
        "def similar_elements(test_tup1, test_tup2):\r\n"
        "  res = tuple(set(test_tup1) & set(test_tup2))\r\n"
        "  return (res) ",
        (
            "assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)",
            "assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)",
            "assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)",
        ),
    ),
    (
        "Write a python function to identify non-prime numbers.",
        "import math\r\ndef is_not_prime(n):\r\n    result = False\r\n"
        "    for i in range(2,int(math.sqrt(n)) + 1):\r\n"
        "        if n % i == 0:\r\n            result = True\r\n    return result",
        (
            "assert is_not_prime(2) == False",
            "assert is_not_prime(10) == True",
            "assert is_not_prime(35) == True",
        ),
    ),
    (
        "Write a function to find the largest integers from a given list of numbers using heap queue algorithm.",
        "import heapq as hq\r\ndef heap_queue_largest(nums,n):\r\n"
        "  largest_nums = hq.nlargest(n, nums)\r\n  return largest_nums",
        (
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],3)==[85, 75, 65] ",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],2)==[85, 75] ",
            "assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],5)==[85, 75, 65, 58, 35]",
        ),
    ),
)


def bare(sample: Sample) -> str:
    """The question as it stands: a text that the model goes on from."""
    return sample.question


def three_shot(sample: Sample) -> str:
    """MBPP: a description and three assertions, behind three examples that are answered (lm-eval's `mbpp_plus`)."""
    shown = [f"{_asked(text, tests)}{code}\n[DONE]\n\n" for text, code, tests in _EXAMPLES]
    return "".join(shown) + _asked(sample.question, sample.meta["tests"])


def docstring(description: str, test: str) -> str:
    """A docstring of description and one assertion, which the BigCode evaluation harness asks MBPP by, zero-shot."""
    return f'"""\n{description}\n{test}\n"""\n'


def _asked(description: str, tests: Sequence[str]) -> str:
    return (
        f"You are an expert Python programmer, and here is your task: {description} "
        "Your code should pass these tests:\n\n" + "\n".join(tests[:SHOWN_TESTS]) + "\n[BEGIN]\n"
    )
