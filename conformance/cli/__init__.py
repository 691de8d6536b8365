"""The command line: parse, call, exit code; no logic.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict`,
`records`, `execution`, `timing`, `maintenance`, `report` and `triage`.
"""
