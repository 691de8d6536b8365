"""`conformance shrink`: the smallest case that still fails in the same way.

Imports what `triage` may import, the modules of `triage`, and `repro`.
"""
