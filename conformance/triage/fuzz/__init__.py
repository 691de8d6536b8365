"""`conformance fuzz`: programs drawn at random, and the ways in which a backend differs on them.

Imports what `triage` may import, the modules of `triage`, `repro` and `shrink`.
"""
