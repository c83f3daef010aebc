"""Methods by name, and what is said of wrong settings: the same rules from a command line and within a method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import methods
from bench.errors import BadInput
from bench.recipe import build_method
from methods.common.catalogue import Refused, Renamed, Wrong, build, method_class, method_names
from methods.common.contract import expert_of


def test_every_file_is_a_method() -> None:
    (folder,) = methods.__path__
    assert method_names() == sorted(f.stem for f in Path(folder).glob("*.py") if f.stem != "__init__")
    with pytest.raises(Wrong, match="^unknown method 'tise'. Did you mean 'ties'\\? Known: acm_ta, "):
        method_class("tise")


@pytest.mark.parametrize(
    ("settings", "kind", "inner", "outer"),
    [
        ({"k": 0.2}, Renamed, "ties calls 'k' 'keep'", "ties calls 'k' 'keep': use --set keep=..."),
        (
            {"keep": "3"},
            Refused,
            "ties keep='3': Input should be less than or equal to 1. It means: {meaning}.",
            "ties: parameter keep='3' is not allowed: Input should be less than or equal to 1. It means: {meaning} "
            "(default 0.2).",
        ),
    ],
)
def test_wrong_settings_in_both_wordings(
    settings: dict[str, Any], kind: type[Wrong], inner: str, outer: str
) -> None:
    meaning = method_class("ties").model_fields["keep"].description
    with pytest.raises(kind) as within:
        build("ties", settings)
    assert str(within.value) == inner.format(meaning=meaning)
    with pytest.raises(BadInput) as outside:
        build_method("ties", settings)
    assert str(outside.value) == outer.format(meaning=meaning)


def test_values_that_do_not_go_together() -> None:
    settings = {"rescale": "alpha", "calibration": "block"}
    rule = "rescale=alpha solves for each module: use calibration=module or residual with it"
    with pytest.raises(Refused) as within:
        build("fim_ties", settings)
    assert (str(within.value), within.value.parameter) == (f"fim_ties: {rule}.", None)
    with pytest.raises(BadInput) as outside:
        build_method("fim_ties", settings)
    assert str(outside.value) == f"fim_ties: {rule}"


def test_shared_parameters_are_given_apart() -> None:
    made = build("ties", {"keep": "0.3"}, shared={"norms": "base"})
    assert (made.norms, made.model_dump()["keep"]) == ("base", 0.3)
    with pytest.raises(Wrong, match="unknown parameter of ties 'norms'") as error:
        build("ties", {"norms": "base"}, shared={})
    assert "keep" in str(error.value) and "out_dtype" not in str(error.value)


@pytest.mark.parametrize(
    ("choice", "expert"),
    [("base", None), ("merge", None), ("mean", None), ("expert:0", 0), ("expert:12", 12)],
)
def test_the_number_of_an_expert(choice: str, expert: int | None) -> None:
    assert expert_of(choice) == expert
