"""Child side: run a program through its calls, take snapshots of the results and compare them.

Imports only `model`, `program`, `isolation`, `backend` and `catalogue`.
"""
