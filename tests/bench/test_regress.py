"""Verdicts of `bench regress`: what they count, when they fail, and how a change is accepted."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.cli import main
from bench.errors import BadInput
from bench.recipe import method_names
from bench.regress import goldens, regress
from bench.regress.check import check
from bench.regress.compare import TOLERANCE, compare
from bench.regress.goldens import HERE, LOG
from bench.regress.models import EXPERTS, FAMILIES
from bench.regress.produce import Product, Written
from tests.bench.command import ROOT, bench, bench_json
from tests.bench.faulty import Fault, loaded
from tests.bench.regress_faults import FAULTS

FLIPPED = next(fault for fault in FAULTS["task_arithmetic"] if fault.what == "sign flipped")
UNWEIGHTED = next(fault for fault in FAULTS["average"] if fault.what == "weights ignored")
BROKEN = Fault("breaks down", "average", "total += piece.base", "raise RuntimeError('out of order')")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Accepted results of two methods, in a folder of the test's own."""
    regress(["average,task_arithmetic"], accept="a beginning", folder=tmp_path)
    return tmp_path


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_every_method_has_goldens_with_a_reason() -> None:
    assert goldens.stored_methods(HERE) == method_names()
    for line in lines(HERE):
        assert set(line) == {"date", "method", "cases", "why", "code"} and str(line["why"]).strip()
    assert {line["method"] for line in lines(HERE)} >= set(method_names())
    assert sum(file.stat().st_size for file in HERE.iterdir()) < 1_000_000


def test_every_case_is_of_use() -> None:
    """A switch that changes no tensor, and asks for no other statistic, would leave its code unwatched."""
    for method in method_names():
        found = goldens.load(method, HERE)
        assert found is not None
        results = Counter(
            repr((product.needs, [(n, t.dtype, t.values.tolist()) for n, t in product.tensors.items()]))
            for product in found.values()
        )
        assert max(results.values()) == 1, method
        for title, product in found.items():
            assert all(bool(t.values.isfinite().all()) for t in product.tensors.values()), (method, title)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_models_hold_what_methods_must_decide_on(name: str) -> None:
    family = FAMILIES[name]
    deltas = np.concatenate(
        [
            np.stack([(expert[t].double() - family.base[t].double()).flatten().numpy() for expert in family.experts])
            for t in family.shapes
        ],
        axis=1,
    )  # fmt: skip
    assert deltas.shape[0] == EXPERTS
    empty, size = deltas == 0, np.abs(deltas)
    assert empty.all(0).any() and (empty.any(0) & ~empty.all(0)).any()
    alike = (size == size[0]).all(0) & ~empty.any(0)
    assert (alike & (np.abs(deltas.sum(0)) > 0)).any() and (alike & (deltas.sum(0) == 0)).any()
    assert (deltas == deltas[0]).all(0)[~empty.any(0)].any()
    assert any((family.base[t] == 0).any() for t in family.shapes)
    assert family.scale == pytest.approx(np.sqrt(np.square(deltas).mean()), rel=1e-12)


def test_a_change_is_counted_and_measured(folder: Path) -> None:
    """A flipped sign of lambda sum tau moves every element whose task vectors do not cancel, by twice that."""
    with loaded(FLIPPED.module, FLIPPED.path, FLIPPED.source):
        (verdict,) = regress(["task_arithmetic"], folder=folder)
    assert verdict.state == "changed" and not verdict.good
    family, seen = FAMILIES["qwen2"], {}
    for change in verdict.changes:
        if change.case == "defaults":
            seen[change.tensor] = change
    assert set(seen) == set(family.shapes)
    for name, change in seen.items():
        total = sum(expert[name].double() - family.base[name].double() for expert in family.experts)
        moved = 2 * 0.7 * total.abs() / family.scale
        assert change.changed == int((moved > TOLERANCE).sum())
        assert change.elements == family.base[name].numel()
        assert change.largest == pytest.approx(float(moved.max()), rel=1e-4)


def test_accepting_a_change(folder: Path) -> None:
    """Only what changed is rewritten, with a line that says why; after that the old result is the change."""
    kept = goldens.file_of("task_arithmetic", folder).read_bytes()
    before = lines(folder)
    with loaded(UNWEIGHTED.module, UNWEIGHTED.path, UNWEIGHTED.source):
        verdicts = regress(["average", "task_arithmetic"], accept=" weights never counted ", folder=folder)
        assert [(v.method, v.state, v.was) for v in verdicts] == [
            ("average", "accepted", "changed"),
            ("task_arithmetic", "ok", None),
        ]
        assert regress(["average"], folder=folder)[0].state == "ok"
    assert regress(["average"], folder=folder)[0].state == "changed"
    assert goldens.file_of("task_arithmetic", folder).read_bytes() == kept
    *earlier, line = lines(folder)
    assert earlier == before
    assert (line["method"], line["why"]) == ("average", "weights never counted")
    assert line["cases"] == ["defaults, weights 1,2,0.5,1.25"]


def test_a_method_without_goldens_fails_and_says_how_to_accept(folder: Path) -> None:
    goldens.file_of("average", folder).unlink()
    (verdict,) = regress(["average"], folder=folder)
    assert verdict.state == "new" and not verdict.good
    assert not goldens.file_of("average", folder).exists()
    assert regress(["average"], accept="new", folder=folder)[0].good


def test_goldens_of_a_method_that_is_gone(folder: Path) -> None:
    goldens.file_of("average", folder).rename(goldens.file_of("removed", folder))
    (verdict,) = regress(["removed"], folder=folder)
    assert verdict.state == "gone" and not verdict.good
    assert regress(["removed"], accept="removed", folder=folder)[0].was == "gone"
    assert goldens.stored_methods(folder) == ["task_arithmetic"]


def test_a_method_that_breaks_down_is_not_accepted(folder: Path) -> None:
    kept = goldens.file_of("average", folder).read_bytes()
    with loaded(BROKEN.module, BROKEN.path, BROKEN.source):
        (verdict,) = regress(["average"], accept="a reason", folder=folder)
    assert verdict.state == "failed" and "out of order" in verdict.changes[-1].what
    assert goldens.file_of("average", folder).read_bytes() == kept


def test_cases_that_come_and_go_are_changes(folder: Path) -> None:
    found = goldens.load("average", folder)
    assert found is not None
    goldens.save("average", {"another": found.pop("defaults"), **found}, folder)
    verdict, _ = check("average", folder)
    assert {(change.case, change.what) for change in verdict.changes} == {
        ("defaults", "has no golden yet"),
        ("another", "is no case any more"),
    }


def test_damaged_goldens_are_bad_input(folder: Path) -> None:
    file = goldens.file_of("average", folder)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(BadInput, match="damaged"):
        regress(["average"], folder=folder)


@pytest.mark.parametrize("reason", ["", "  "])
def test_an_empty_reason_is_refused_before_any_work(reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs a reason"):
        regress(["average"], accept=reason, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def product(values: list[float], dtype: str = "F32", needs: tuple[str, ...] = ()) -> Product:
    """One tensor, `w`."""
    return Product({"w": Written(dtype, (len(values),), torch.tensor(values))}, "models", list(needs), 0.5)


def test_rounding_is_no_change_and_more_is() -> None:
    golden = product([1.0, 2.0, 0.0, float("nan")])
    changes, rounding = compare("case", product([1.0, 2 + 1e-6, -0.0, float("nan")]), golden)
    assert changes == [] and rounding == pytest.approx(2e-6, rel=0.1)
    (change,), _ = compare("case", product([1.0, 2 + 1e-4, 0.25, float("nan")]), golden)
    assert (change.tensor, change.changed, change.elements, change.largest) == ("w", 2, 4, 0.5)
    (change,), _ = compare("case", product([float("nan"), 2.0, 0.0, float("nan")]), golden)
    assert change.largest == float("inf")


def test_one_step_of_bfloat16_is_rounding() -> None:
    """Between 1 and 2 a step is 1/128, below 1 it is 1/256."""
    golden = product([1.5, 0.75], "BF16")
    assert compare("case", product([1.5 + 1 / 128, 0.75 - 1 / 256], "BF16"), golden)[0] == []
    assert compare("case", product([1.5 + 2 / 128, 0.75 - 2 / 256], "BF16"), golden)[0][0].changed == 2
    assert compare("case", product([1.5 + 1 / 128, 0.75]), product([1.5, 0.75]))[0][0].changed == 1


def test_other_tensors_and_other_statistics_are_changes() -> None:
    golden = product([1.0, 2.0], needs=("fisher of base",))
    assert (
        "became BF16 [2]"
        in compare("case", product([1.0, 2.0], "BF16", golden_needs(golden)), golden)[0][0].what
    )
    assert "became F32 [1]" in compare("case", product([1.0], needs=golden_needs(golden)), golden)[0][0].what
    asked = [c.what for c in compare("case", product([1.0, 2.0], needs=("fisher of experts",)), golden)[0]]
    assert asked == ["no longer asks for fisher of base", "now asks for fisher of experts"]
    lost = Product({}, "models", golden.needs, 0.5)
    assert compare("case", lost, golden)[0][0].what == "is gone"
    assert compare("case", golden, lost)[0][0].what == "is new"


def golden_needs(golden: Product) -> tuple[str, ...]:
    return tuple(golden.needs)


def test_the_command_fails_on_a_fault_and_names_tensors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 with the report on standard output, the verdict on standard error."""
    monkeypatch.setattr(sys, "argv", ["bench", "regress", "--method", "average"])
    with loaded(UNWEIGHTED.module, UNWEIGHTED.path, UNWEIGHTED.source), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert "changed" in shown.out and "weights" in shown.out and "of 42" in shown.out
    assert "failed: average" in shown.err and "--accept" in shown.err


def test_the_command_is_content_and_leaves_nothing(tmp_path: Path) -> None:
    found = bench_json("regress", "--method", "average,task_arithmetic", cwd=tmp_path)
    assert [(v["method"], v["state"], v["changes"]) for v in found] == [
        ("average", "ok", []),
        ("task_arithmetic", "ok", []),
    ]
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_bad_input(tmp_path: Path) -> None:
    assert "Did you mean 'average'" in bench("regress", "--method", "averge", cwd=tmp_path, code=2).stderr
    assert "needs a reason" in bench("regress", "--accept", "", cwd=tmp_path, code=2).stderr
    assert list(tmp_path.iterdir()) == []


NEWCOMER = """
from typing import ClassVar
from methods.average import Average
from methods.common.contract import Card, parameter

class Newcomer(Average):
    card: ClassVar[Card] = Card(title="Newcomer", source="a test", summary="an average with a base")
    include_base: bool = parameter(True, "as the average's", "a test")

METHOD = Newcomer
"""


@pytest.mark.slow
def test_a_new_file_in_methods_is_asked_for_its_goldens(tmp_path: Path) -> None:
    """In a copy of the program: found by its file alone, refused until accepted, then held to it."""
    for package in ("bench", "methods", "results", "tasks"):
        leave = shutil.ignore_patterns("__pycache__", "models", "engines")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=leave)
    (tmp_path / "methods" / "newcomer.py").write_text(NEWCOMER)
    here = {"cwd": tmp_path, "PYTHONPATH": str(tmp_path)}
    refused = bench("regress", "--method", "newcomer", code=1, **here)
    assert "has no goldens yet" in refused.stdout and "--accept" in refused.stderr
    bench("regress", "--method", "newcomer", "--accept", "it is new", **here)
    (verdict,) = json.loads(bench("regress", "--method", "newcomer", "--json", **here).stdout)
    assert (verdict["state"], verdict["cases"]) == ("ok", 3)
    assert lines(tmp_path / "bench" / "regress" / "goldens")[-1]["method"] == "newcomer"


@pytest.mark.slow
def test_goldens_hold_on_processors_without_wide_vectors(tmp_path: Path) -> None:
    """Every method, in torch, BLAS and NumPy as a plain x86-64 runs them: sums are grouped otherwise there."""
    wide = "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
    env = {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "NPY_DISABLE_CPU_FEATURES": wide,
        "PYTHONWARNINGS": "ignore",
    }
    done = bench("regress", "--json", cwd=tmp_path, **env)
    found = json.loads(done.stdout)
    assert [v["method"] for v in found if v["state"] != "ok"] == []
    assert max(v["rounding"] for v in found) < TOLERANCE / 5
