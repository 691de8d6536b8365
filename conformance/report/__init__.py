"""Output for people: pages, plots, tables for terminals, and the differences of two runs.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict`,
`records`, `execution`, `timing` and `maintenance`.
"""
