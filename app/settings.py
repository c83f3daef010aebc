"""Which database to show, and the rule that the leaderboard stays on this machine."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import streamlit as st

DEFAULT_DATABASE = "runs/leaderboard.duckdb"
ENTRY = "leaderboard.py"


def database_path() -> Path:
    """The database: `--db` behind `streamlit run app/leaderboard.py --`, or MERGEBOARD_DB, or the default."""
    default = os.environ.get("MERGEBOARD_DB") or DEFAULT_DATABASE
    parser = argparse.ArgumentParser(exit_on_error=False, add_help=False)
    parser.add_argument("--db", type=Path, default=Path(default))
    # Under another program, such as a test runner, the arguments are not ours.
    ours = sys.argv[1:] if Path(sys.argv[0]).name == ENTRY else []
    chosen, unknown = parser.parse_known_args(ours)
    if unknown:
        st.error(f"Unknown argument {unknown[0]!r}: `streamlit run app/{ENTRY} -- --db FILE`")
        st.stop()
    return Path(chosen.db)


def stay_on_this_machine() -> None:
    """Stop unless the server listens on this machine only: responses may be anything, and nobody logs in."""
    address = st.get_option("server.address")
    if address not in ("localhost", "127.0.0.1", "::1"):
        listens = f"on {address}" if address else "on every network interface"
        st.error(
            f"This server listens {listens}, and the leaderboard has no log-in. Start it with "
            "`make leaderboard`, or add `--server.address localhost`."
        )
        st.stop()
