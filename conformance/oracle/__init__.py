"""A second opinion on what is right: the modes as PyTorch documents them, interpreted without PyTorch.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `checks` nor `verdict`.
"""
