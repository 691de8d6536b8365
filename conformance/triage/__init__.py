"""From a function or a red cell to its cause: `check`, `explain`, `repro`, `shrink` and `fuzz`.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue`, `observation`, `oracle`, `checks`, `verdict`,
`records`, `execution`, `timing`, `maintenance` and `report`.
"""
