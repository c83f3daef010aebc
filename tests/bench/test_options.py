"""Options that several commands share: said once, the same everywhere, and none of them lost on its way."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bench.cli import COMMANDS, app
from bench.commands.options import AskingGroup, EngineGroup, Json, JudgeGroup, PlaceGroup, eval_options, flat

PLACES = ("run", "merge", "eval", "lm-eval", "table", "doctor")  # commands that have --runs and --db


def _listed(command: str) -> dict[str, str]:
    """Every option that a command has, with what its help says."""
    found = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    return {option.opts[0]: option.help for option in found.params}


def test_a_group_reaches_its_command_as_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MERGEBOARD_RUNS", raising=False)
    seen = []

    def command(word: str, *, first: str = "a", place: PlaceGroup, json: Json = False) -> None:
        seen.append((word, first, place, json))

    small = typer.Typer()
    small.command()(flat(command))
    done = CliRunner().invoke(small, ["w", "--db", "x.duckdb", "--json"])
    assert done.exit_code == 0, done.output
    assert seen == [("w", "a", PlaceGroup(Path("runs"), Path("x.duckdb")), True)]
    assert seen[0][2].database == Path("x.duckdb") and PlaceGroup().database == Path(
        "runs/leaderboard.duckdb"
    )


def test_every_option_arrives_where_the_evaluation_reads_it() -> None:
    engine = EngineGroup("vllm", "float32", 3, 2, 4, 0.5, "http://s/v1", "m", 7)
    asking = AskingGroup("tok", 64, Path("d"), "chat", 8, True)
    judging = JudgeGroup("judge", "hf", "http://j/v1", True)
    made = eval_options("l2s", split="train", limit=5, engine=engine, asking=asking, judging=judging)
    for group in (engine, asking, judging):
        for field in fields(group):
            assert getattr(made, field.name) == getattr(group, field.name), field.name
            assert getattr(made, field.name) != field.default, "the test says nothing of a default"
    assert (made.suite, made.split, made.limit) == ("l2s", "train", 5)


def test_commands_that_share_options_list_the_same_ones() -> None:
    engine = [f"--{field.name.replace('_', '-')}" for field in fields(EngineGroup)]
    for words, commands in (
        ([*engine, "--limit", "--max-new-tokens"], ("run", "eval", "lm-eval")),
        (["--data-dir", "--prompt-mode", "--samples", "--fixed-tokenizer", "--split"], ("run", "eval")),
        (["--judge", "--judge-engine", "--judge-url", "--no-judge"], ("run", "eval")),
        (["--runs", "--db", "--json"], PLACES),
    ):
        first = _listed(commands[0])
        for command in commands:
            listed = _listed(command)
            assert {word: listed[word] for word in words} == {word: first[word] for word in words}, command


def test_every_command_has_a_help_of_its_own() -> None:
    for name in COMMANDS:
        done = CliRunner().invoke(app, [name, "--help"])
        assert done.exit_code == 0 and f" {name} " in done.output
