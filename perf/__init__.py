"""How fast and how small merging is, beside a peer: `make perf-merge`. Not part of what is installed.

A folder of its own because it is no part of the road: it builds gigabytes of random checkpoints, installs another
tool into an environment of its own, and runs both as a user would, from the command line. It may import anything;
nothing imports it.
"""
