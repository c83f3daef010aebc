"""Environments of the tools that we measure ourselves against: each has its own, beside this file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def programs(name: str) -> Path:
    """Folder of the programs of the environment called `name`; it may not be installed yet."""
    return HERE / f".venv-{name}" / "bin"


def ready(name: str) -> Path:
    """As `programs`; installs NAME-requirements.txt first if it is not there."""
    environment = programs(name).parent
    requirements = HERE / f"{name}-requirements.txt"
    stamp, wanted = environment / ".installed", requirements.read_text()
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing {name} into {environment} (once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", requirements]
        subprocess.run(pip, check=True, cwd=HERE)
        stamp.write_text(wanted)
    return environment / "bin"
