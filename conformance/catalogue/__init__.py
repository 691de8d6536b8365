"""From YAML to a plan: documents, validation, families, cases, selection, and the specification.

Imports only `model`, `program`, `isolation` and `backend`.
"""
