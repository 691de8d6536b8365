"""Keeping the suite right: validating files, trying capabilities, updating and re-judging expectations.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict`,
`records`, `execution` and `timing`.
"""
