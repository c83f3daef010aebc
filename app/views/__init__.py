"""One file per page; `app/leaderboard.py` lists them.

Not called `pages`: a folder of that name makes Streamlit run its files without the frame.
"""
