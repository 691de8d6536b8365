"""Results of a run: JSON lines written and read, shards, the environment, and records as pandas frames.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks` and `verdict`.
"""
