"""`conformance explain`: a failure run once more, node by node, down to what begins to differ.

Imports what `triage` may import, the modules of `triage`.
"""
