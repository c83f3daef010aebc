"""Room on disk, asked for before work starts."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.errors import BadInput
from results import text


def check_disk(folder: Path, needed: int, what: str) -> None:
    """Refuse before starting what cannot fit; 2% and 16 MB are left for the file system."""
    probe = folder
    while not probe.exists():
        probe = probe.parent
    free = shutil.disk_usage(probe).free
    if needed * 1.02 + 16e6 > free:
        raise BadInput(
            f"{what} needs {text.size(needed)} at {folder}, where {text.size(free)} are free. "
            f"Free some space or choose another place with --out or --runs."
        )
