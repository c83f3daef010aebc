"""A dozen documents for every task of the suites that lm-eval asks, in the columns of the task's own dataset.

Every question is one of a kind, so that who answers can look up what it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
N = 12
LETTERS = "ABCD"
MINERVA = (
    "algebra",
    "counting_and_prob",
    "geometry",
    "intermediate_algebra",
    "num_theory",
    "prealgebra",
    "precalc",
)
INSTRUCTIONS: list[tuple[str, list[str], list[Row]]] = [
    ("Write without commas", ["punctuation:no_comma"], [{}]),
    ("Write the word bag", ["keywords:existence"], [{"keywords": ["bag"]}]),
    (
        "Write at least 3 words without commas",
        ["length_constraints:number_words", "punctuation:no_comma"],
        [{"num_words": 3, "relation": "at least"}, {}],
    ),
]


def gsm8k(i: int) -> Row:
    return {
        "question": f"Mia has {i} red bags and buys 4. How many?",
        "answer": f"{i}+4={i + 4}.\n#### {i + 4:,}",
    }


def train(i: int) -> Row:
    return {"question": f"Tom eats {i} pears of 90. How many are left?", "answer": f"He has\n#### {90 - i}"}


def minerva(subject: str) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        gold = f"\\frac{{{i + 1}}}{{7}}" if i % 2 else f"{i}"
        problem = f"In {subject}, what is the value of item {i}?"
        return {
            "problem": problem,
            "solution": f"It is $\\boxed{{{gold}}}$.",
            "level": "Level 1",
            "type": subject,
        }

    return row


def m_mmlu(language: str) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        options = {f"option_{letter}": f"{letter}{i} {language}" for letter in "abcd"}
        return {
            "instruction": f" Question {i} ({language})? ",
            **options,
            "answer": LETTERS[i % 4],
            "id": str(i),
        }

    return row


def m_arc(language: str) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        options = {f"option_{letter}": f"{letter} {'long ' * (i % 3)}[note] {i}" for letter in "abcd"}
        fifth = "a fifth" if i % 5 == 0 else None
        question = f"Why  {i} in {language} [title] and then?"
        return {
            "instruction": question,
            **options,
            "option_e": fifth,
            "answer": LETTERS[i % 3],
            "id": f"a/{i}",
        }

    return row


def m_hellaswag(language: str) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        return {
            "ind": i,
            "activity_label": f"Cooking {language} {i}",
            "ctx_a": "[header] He takes a pan.",
            "ctx_b": "then HE",
            "endings": [
                f"{word} number {i} [substeps] now" for word in ("stirs", "sleeps for long", "runs", "sings")
            ],
            "label": str(i % 4),
        }

    return row


def ifeval(i: int) -> Row:
    prompt, ids, kwargs = INSTRUCTIONS[i % len(INSTRUCTIONS)]
    columns = {"keywords": None, "num_words": None, "relation": None}
    return {
        "key": i,
        "prompt": f"{prompt}, text number {i}.",
        "instruction_id_list": ids,
        "kwargs": [columns | kw for kw in kwargs],
    }


def coqa(i: int) -> Row:
    other = {"input_text": ["one", f"the colour {i}"], "turn_id": [1, 2]}
    return {
        "id": f"c{i}",
        "story": f"Story {i} of a cat. It is small.",
        "questions": {"input_text": ["How many cats?", f"Which colour has cat {i}?"], "turn_id": [1, 2]},
        "answers": {"input_text": ["One", f"Colour {i}"], "turn_id": [1, 2]},
        "additional_answers": {"0": other, "1": other},
    }


def mmlu(subject: str) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        choices = [f"{word} {subject}" for word in ("first", "second", "third", "fourth")]
        return {
            "question": f" What of {subject} {i}? ",
            "subject": subject,
            "choices": choices,
            "answer": i % 4,
        }

    return row


def pubmedqa(ids: Iterable[str]) -> Callable[[int], Row]:
    """The authors' copy: every second row is of the test set."""
    known = sorted(ids)

    def row(i: int) -> Row:
        return {
            "pubid": int(known[i]) if i % 2 == 0 else i,
            "question": f"Does drug {i} help?",
            "context": {"contexts": [f"Background {i}.", "Many did."], "labels": ["A", "B"], "meshes": ["x"]},
            "long_answer": "It seems so.",
            "final_decision": ("yes", "no", "maybe")[i % 3],
        }

    return row


def bigbio(row: Row) -> Row:
    """A row of the authors' copy in the columns of bigbio/pubmed_qa."""
    return {
        "QUESTION": row["question"],
        "CONTEXTS": row["context"]["contexts"],
        "final_decision": row["final_decision"],
    }


def squad(i: int) -> Row:
    golds = [f"the bay {i}", f"bay {i} in the south"] if i % 3 else []
    return {
        "id": f"s{i}",
        "title": "Bays",
        "context": f"Bay {i} lies in the south.",
        "question": f"Where do the boats of {i} go?",
        "answers": {"text": golds, "answer_start": [0] * len(golds)},
    }


def triviaqa(i: int) -> Row:
    return {"question": f"Who sang song {i}", "answer": {"aliases": [f"Singer {i}", f"The Singer No {i}"]}}


def cmmlu(subject: str) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        return {
            "Question": f" {subject} 的问题 {i}？ ",
            **{x: f"{x.lower()}{i}" for x in LETTERS},
            "Answer": LETTERS[i % 4],
        }

    return row


def write(folder: Path, task: str, make: Callable[[int], Row], n: int = N, split: str = "test") -> None:
    """`<folder>/<task>/<split>.jsonl`."""
    (folder / task).mkdir(parents=True, exist_ok=True)
    rows = "".join(json.dumps(make(i), ensure_ascii=False) + "\n" for i in range(n))
    (folder / task / f"{split}.jsonl").write_text(rows, encoding="utf-8")


def read(file: Path) -> list[Row]:
    """Rows of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write_mergebench(folder: Path) -> Path:
    """Data of every task of lm-eval in the suite."""
    for task in ("gsm8k", "gsm8k_cot"):
        write(folder, task, gsm8k)
    write(folder, "gsm8k", train, 9, "train")
    for subject in MINERVA:
        write(folder, f"minerva_math_{subject}", minerva(subject), 2)
    for language in ("fr", "de", "ru", "es"):
        write(folder, f"m_mmlu_{language}", m_mmlu(language))
        write(folder, f"arc_{language}", m_arc(language))
        write(folder, f"hellaswag_{language}", m_hellaswag(language))
    write(folder, "ifeval", ifeval)
    return folder


def write_llama2(folder: Path, subjects: Iterable[str]) -> Path:
    """Data of every task of lm-eval in the suite."""
    for subject in subjects:
        write(folder, f"cmmlu_{subject}", cmmlu(subject), 1)
    for task in ("gsm8k", "gsm8k_cot"):
        write(folder, task, gsm8k)
    write(folder, "gsm8k", train, 9, "train")
    return folder


def write_general(folder: Path, subjects: Iterable[str], test_ids: Iterable[str]) -> Path:
    """Data of every task of lm-eval in the suite, and of the variant of PubMedQA beside it."""
    write(folder, "coqa", coqa)
    for subject in subjects:
        write(folder, f"mmlu_{subject}", mmlu(subject), 1)
    ours = pubmedqa(test_ids)
    write(folder, "pubmedqa_labeled", ours, 2 * N)
    kept = [ours(i) for i in range(0, 2 * N, 2)]
    write(folder, "pubmedqa", lambda i: bigbio(kept[i]))
    write(folder, "squadv2", squad)
    write(folder, "triviaqa", triviaqa)
    return folder
