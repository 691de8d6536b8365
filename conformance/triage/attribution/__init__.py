"""`conformance attribute`: whose fault the failures of a run are, by controls.

Imports what `triage` may import, the modules of `triage`.
"""
