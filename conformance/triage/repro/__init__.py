"""`conformance repro`: a failing record as a script that needs PyTorch alone, and as a bug report.

Imports what `triage` may import, the modules of `triage`.
"""
