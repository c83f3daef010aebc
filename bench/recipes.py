"""The recipes of a run: every method asked for, checked; of `all`, also why the others do not apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.choice import settings_of
from bench.config import ModelSet
from bench.data import check_data, data_needs
from bench.errors import BadInput
from bench.examples import ExampleSet, check_split, suite_examples
from bench.suites import EvalOptions
from tasks.contract import Suite

if TYPE_CHECKING:
    from bench.recipe import Recipe


@dataclass(frozen=True)
class Asked:
    """What a run merges: models, the suite that lends its examples, and settings for every method.

    `data_split` is train or validation: test is only ever scored.
    """

    models: ModelSet
    suite: Suite
    options: EvalOptions
    settings: Mapping[str, Any]
    data_split: str = "train"

    @cached_property
    def examples(self) -> tuple[ExampleSet, ...]:
        """Examples of the suite, one set per expert."""
        return suite_examples(self.suite, list(self.models.experts), self.data_split, self.options.data_dir)

    def recipe(self, text: str) -> Recipe:
        """The recipe of `METHOD` or `METHOD@PRESET`, with everything checked that needs no weights."""
        from bench.alignment.align import align
        from bench.recipe import build_recipe

        name, own = settings_of(text, self.settings, self.suite.name)
        experts, context = list(self.models.experts.values()), self.models.context
        recipe = build_recipe(name, own, self.models.base, experts, context=context)
        if data_needs(recipe.method.needs()):
            recipe = replace(recipe, data=self.examples)
        check_data(recipe)
        align(recipe)
        return recipe


def recipes_of(methods: Sequence[str], asked: Asked) -> tuple[list[Recipe], dict[str, str]]:
    """A checked recipe per method; of `all`, methods that do not apply are left out, with the reason by name.

    Raises BadInput for a method that was asked for by name and does not apply, and when none does.
    """
    from bench.models.checkpoint import Checkpoint, locate
    from bench.recipe import method_names, parse_expert

    names = [name.strip() for name in methods if name.strip()]
    if not names:
        raise BadInput(f"no method given. Known: {', '.join(method_names())}, or all")
    check_split(asked.data_split)  # whether a method needs examples or not
    every = "all" in names
    for spec in (asked.models.base, *(parse_expert(expert)[0] for expert in asked.models.experts.values())):
        Checkpoint(locate(spec), spec)  # a model that is not there is no method's fault
    if every and asked.settings:
        raise BadInput("--set does not go with all methods: name the methods that it is for")
    recipes, refused = [], {}
    for text in method_names() if every else dict.fromkeys(names):
        try:
            recipes.append(asked.recipe(text))
        except BadInput as error:
            if not every:
                raise
            refused[text] = one_line(error, text).partition(". ")[0]  # without the advice behind it
    if not recipes:
        raise BadInput("no method applies:\n  " + "\n  ".join(f"{n}: {why}" for n, why in refused.items()))
    return recipes, refused


def one_line(error: BaseException, name: str) -> str:
    """What an error says, in one line and without the name that will stand before it."""
    said = " ".join(str(error).split()) or type(error).__name__
    for prefix in (f"{name}: ", f"{name} "):
        said = said.removeprefix(prefix)
    return said
