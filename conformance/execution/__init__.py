"""From a plan to records: what the child does with a request, attempts, the runner, sessions, the warm-up.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict` and
`records`.
"""
