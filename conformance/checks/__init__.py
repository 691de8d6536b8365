"""The checks, one file each: what was observed of both sides -> whether it is the same, and where it differs.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `oracle` nor `verdict`.
"""
