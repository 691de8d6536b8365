"""The checks, one file each: compare the observations of both sides and report where they differ.

To add one: a module here with a function `check(pair)`, and its entry in `model/check_catalogue.py`.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `oracle` nor `verdict`.
"""
