"""The two ways a suite cannot be served; `bench` turns both into its own bad-input error."""

from __future__ import annotations

from collections.abc import Iterable


class UnknownName(LookupError):
    """Nothing is called `name`; `known` lists what could have been meant."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = tuple(sorted(known))
        super().__init__(f"unknown suite or benchmark {name!r}; known: {', '.join(self.known)}")


class DataUnavailable(Exception):
    """The samples of a benchmark cannot be read; the message says where it looked and what to do."""
