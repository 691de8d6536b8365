"""The oracle: modes as PyTorch documents them, interpreted without PyTorch, to validate uncompiled results.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `checks` nor `verdict`.
"""
