"""From a plan to records: a request in a child, attempts, the runner, sessions, the warm-up.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict` and
`records`.
"""
