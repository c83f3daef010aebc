"""What a command means by an experiment of configs/experiments: methods, models and suite, each with its own option
over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.config import Experiment, experiment
from bench.errors import BadInput, unknown
from bench.recipe import parse_settings

METHOD, SUITE = "fim_ties", "mini_l2s"  # where nothing is said


@dataclass(frozen=True)
class Wanted:
    """Methods, suite and model set of a command; `left_out` are methods that need examples of one's own.

    `settings` are parameters of all methods.
    """

    methods: tuple[str, ...]
    suite: str
    models: str | None
    left_out: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def set_with(self, given: Sequence[str] | None) -> list[str]:
        """The parameters as --set has them: the experiment's, and over them those of the command line."""
        said = parse_settings(list(given or []))
        return [f"{name}={value}" for name, value in {**self.settings, **said}.items()]


def wanted(
    name: str | None,
    *,
    method: str | None,
    suite: str | None,
    models: str | None,
    base: str | None,
    experts: list[str] | None,
) -> Wanted:
    """What the options mean. An experiment brings its models; `method` picks of its methods, `suite` may differ."""
    given = tuple(part.strip() for part in (method or "").split(",") if part.strip())
    if name is None:
        return Wanted(given or (METHOD,), suite or SUITE, models)
    if models or base or experts:
        raise BadInput("--experiment says the models: leave out --models, --base and --expert")
    found = experiment(name)
    chosen = tuple(dict.fromkeys(entry for text in given for entry in _of(found, text)))
    left_out = tuple(text for text in found.with_data if text not in chosen)
    return Wanted(chosen or found.methods, suite or found.suite, found.models, left_out, found.settings)


def _of(found: Experiment, text: str) -> list[str]:
    """The experiment's own entries for a method, with their presets: one, or all that it has of the method."""
    entries = (*found.methods, *found.with_data)
    if text in entries:
        return [text]
    names = [entry.partition("@")[0] for entry in entries]
    if text not in names:
        raise unknown(f"method of the experiment {found.name}", text, dict.fromkeys(names))
    return [entry for entry, name in zip(entries, names, strict=True) if name == text]
