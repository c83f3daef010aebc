"""Every preset of configs/methods is a set of parameters that its method takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.config import presets
from bench.recipe import build_method, method_names

FILES = sorted((Path(__file__).parents[2] / "configs" / "methods").glob("*.yaml"))


@pytest.mark.parametrize("method", [file.stem for file in FILES])
def test_a_preset_builds_its_method_and_changes_only_what_it_says(method: str) -> None:
    assert method in method_names()
    for name, settings in presets(method).items():
        built, plain = (build_method(method, given).model_dump(by_alias=True) for given in (settings, {}))
        different = {key for key in plain if built[key] != plain[key]}
        assert different <= set(settings), name
