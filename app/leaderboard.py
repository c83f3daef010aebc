"""The leaderboard: `streamlit run app/leaderboard.py -- --db runs/leaderboard.duckdb`, or `make leaderboard`.

It reads the results database and nothing else. This file lists the pages; each is one file of `app/views`.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import data, filters, settings

PAGES = (
    ("views/board.py", "Leaderboard", ":material/leaderboard:"),
    ("views/tradeoff.py", "Trade-off", ":material/scatter_plot:"),
    ("views/votes.py", "Self-consistency", ":material/how_to_vote:"),
    ("views/responses.py", "Responses", ":material/notes:"),
)

# Streamlit leaves a hand's breadth above the title and little room for a wide table.
STYLE = ".stMainBlockContainer { padding: 4rem 2.5rem 3rem } h1 { font-size: 2rem !important }"


def main() -> None:
    """Draw the frame, then the chosen page."""
    st.set_page_config(page_title="mergeboard", page_icon="🔀", layout="wide", initial_sidebar_state=240)
    st.html(f"<style>{STYLE}</style>")
    settings.stay_on_this_machine()
    page = st.navigation(
        [st.Page(file, title=title, icon=icon) for file, title, icon in PAGES], position="top"
    )
    database = settings.database_path()
    measured = data.measured(database)
    if not measured:
        _nothing_yet(database)
        return
    st.session_state["view"] = filters.choose(database, measured)
    page.run()


def _nothing_yet(database: Path) -> None:
    """What to do when there are no scores."""
    st.title("No results yet")
    if database.exists():
        st.write(f"The database `{database}` has no scores.")
    else:
        st.write(f"There is no database at `{database}`.")
    st.write("This merges, evaluates and records; it takes a few minutes:")
    st.code("make bench METHOD=fim_ties", language="bash")
    st.write("Your own models, on real problems:")
    st.code(
        "bench run --base PATH_OR_HUB_ID --expert PATH_OR_HUB_ID --method fim_ties --suite gsm8k --limit 50",
        language="bash",
    )
    st.write("Results elsewhere? Say where: `make leaderboard DB=FILE`. Then reload this page.")


main()
