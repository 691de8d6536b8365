"""Paired timing: the clock, statistics, counters, and files and frames of timings.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict`,
`records` and `execution`.
"""
