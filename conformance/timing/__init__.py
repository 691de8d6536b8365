"""Paired timing: the clock, its statistics, what is counted without a clock, and files and frames of timings.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict`,
`records` and `execution`.
"""
