"""The one error of the store and its spools."""

from __future__ import annotations


class StoreError(Exception):
    """Rows cannot be written or read. The message says what is wrong, where, and what to do next."""
