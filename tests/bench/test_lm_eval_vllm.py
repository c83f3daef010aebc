"""Tasks of lm-eval on the `vllm` engine: the texts and scores of lm-eval's own `hf` model, both in float32.

`make test-vllm` runs these; they need lm-eval beside vLLM (the extra `lm-eval`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")
pytest.importorskip("accelerate", reason="lm-eval's own hf model needs accelerate: the extra lm-eval")

from bench.engines.vllm import installed  # noqa: E402
from tests.bench import lm_eval_tasks as made  # noqa: E402
from tests.bench.test_lm_eval_same import MODEL, compared, peer, texts  # noqa: E402

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(installed() is None, reason="vLLM is not installed: make vllm"),
]


def test_texts_scores_and_rows_with_vllm(tmp_path: Path) -> None:
    folder = made.write_task(tmp_path / "tasks", "gsm8k_local", made.questions(16))
    made.write_ifeval(folder, made.INSTRUCTIONS)
    names = ["gsm8k_local", "ifeval_local"]
    report = made.ask(folder, names, tmp_path / "runs", model=MODEL, engine="vllm", dtype="float32")
    theirs = peer(folder, names)
    for task in names:
        ours = texts(tmp_path / "runs", task)
        for sample in theirs["samples"][task]:
            assert ours[sample["doc_id"]] == sample["resps"][0][0].strip()
    assert compared(report, theirs) == 6
    rows = made.stored(tmp_path / "runs", "SELECT DISTINCT engine, dtype FROM responses")
    assert rows == [{"engine": "vllm", "dtype": "float32"}]
    (run,) = made.stored(tmp_path / "runs", "SELECT engine, dtype FROM current_runs")
    assert run == {"engine": "vllm", "dtype": "float32"}
