"""`bench regress` catches planted faults of every method, and nothing where there is none."""

from __future__ import annotations

import pytest

from bench.recipe import METHODS, method_names
from bench.regress.check import check
from tests.bench.faulty import COMPILED, loaded, uncompiled
from tests.bench.regress_faults import FAULTS

AT_LEAST = 3


def test_every_method_has_faults() -> None:
    assert sorted(FAULTS) == method_names()
    assert {name: len(faults) for name, faults in FAULTS.items() if len(faults) < AT_LEAST} == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow encountered in scalar:RuntimeWarning")  # hashes wrap
@pytest.mark.parametrize("method", sorted(FAULTS))
def test_faults_are_caught(method: str) -> None:
    """Each with tensors that differ: that the method breaks down would be no merit of the goldens."""
    missed = {}
    for fault in FAULTS[method]:
        with loaded(fault.module, fault.path, fault.source) as finder:
            verdict, _ = check(method, first_change=True)
        assert finder.used, f"{method} does not use {fault.file}: {fault.what}"
        if verdict.state != "changed" or all(change.largest is None for change in verdict.changes):
            missed[fault.what] = (verdict.state, verdict.changes)
    assert missed == {}


@pytest.mark.slow
@pytest.mark.parametrize("module", COMPILED)
def test_kernels_without_a_fault_are_clean_as_plain_python(module: str) -> None:
    """So that what is caught above is the fault, and not the way it is loaded."""
    path = METHODS / "common" / f"{module.rpartition('.')[2]}.py"
    method = next(name for name, faults in FAULTS.items() if module in {fault.module for fault in faults})
    with loaded(module, path, uncompiled(path.read_text())) as finder:
        verdict, _ = check(method)
    assert finder.used
    assert verdict.state == "ok", verdict.changes


def test_after_a_fault_the_real_method_is_back() -> None:
    fault = FAULTS["average"][0]
    with loaded(fault.module, fault.path, fault.source):
        assert check("average", first_change=True)[0].state == "changed"
    assert check("average")[0].state == "ok"
