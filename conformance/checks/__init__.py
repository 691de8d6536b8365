"""The checks, one file each: compare the observations of both sides and report where they differ.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `oracle` nor `verdict`.
"""
