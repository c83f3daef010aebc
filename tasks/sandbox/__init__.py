"""Programs that a model wrote, each run where it can reach nothing: `run_programs`, `available`, `Sandbox`."""

from tasks.sandbox.contract import Limits, Outcome, SandboxUnavailable
from tasks.sandbox.pool import Sandbox, available, run_programs

__all__ = ["Limits", "Outcome", "Sandbox", "SandboxUnavailable", "available", "run_programs"]
