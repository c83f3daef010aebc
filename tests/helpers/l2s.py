"""Data of the six Long-to-Short benchmarks: the real ones where they are found, else rows like them.

The real ones are looked for in the folder MERGEBOARD_TEST_DATA, else beside the project (`../shared/data/l2s`). Tests
marked `l2s_data` need them, and are named as left out where there are none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "l2s"
REAL = Path(os.environ.get("MERGEBOARD_TEST_DATA") or BESIDE)
SIZES = {
    "gsm8k": 1319, "math500": 500, "minerva_ocw": 272, "olympiadbench": 675, "college_math": 2818, "aime24": 30,
}  # fmt: skip
FOLDERS = {**dict(zip(SIZES, SIZES, strict=True)), "minerva_ocw": "minerva_math"}
HERE = (REAL / "aime24" / "test.jsonl").is_file()


def data(tmp_path: Path) -> Path:
    """A folder with all six benchmarks in their layout."""
    if HERE:
        return REAL
    for name in SIZES:
        write(tmp_path, FOLDERS[name], [row(name, n) for n in range(SIZES[name])])
    return tmp_path


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """Write the rows of one benchmark; returns the folder of all."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows)
    (folder / name / "test.jsonl").write_text(text, encoding="utf-8")
    return folder


def raw(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one benchmark as they lie there."""
    with (folder / FOLDERS[name] / "test.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def row(name: str, n: int) -> dict[str, Any]:
    """A row with the columns of a benchmark."""
    question = f"What is ${n}+\\frac{{1}}{{1}}$ — at 5′?\nAnswer."
    rows: dict[str, dict[str, Any]] = {
        "gsm8k": {"question": question, "answer": f"{n}+1\n#### {n + 1:,}", "idx": n},
        "math500": {
            "problem": question, "solution": f"\\boxed{{{n + 1}}}", "answer": f"{n + 1}", "subject": "Algebra",
            "level": n % 5 + 1, "unique_id": f"test/algebra/{n}.json",
        },
        "minerva_ocw": {
            "problem": question, "solution": f"It is \\boxed{{{n + 1}}} m", "type": "Astronomy", "idx": n,
        },
        "olympiadbench": {
            "id": n, "subfield": "Algebra", "context": None, "question": question, "solution": ["s"],
            "final_answer": [f"${n + 1}$"], "is_multiple_answer": False, "unit": None,
            "answer_type": "Numerical", "error": None if n else "1e-2",
        },
        "college_math": {
            "data_source": "college_math.x", "question_number": f"exercise.{n}", "question": question,
            "answer": "Yes" if n % 9 == 0 else f"${n + 1}$", "license": "CC BY", "data_topic": "college_math.algebra",
        },
        "aime24": {
            "id": 60 + n, "problem": question, "solution": "s", "answer": f"{n:03d}",
            "url": f"https://x/2024_AIME_I_Problems/Problem_{n}",
        },
    }  # fmt: skip
    return rows[name]
