"""The subset of Python that programs are written in: what is allowed, parsing, nests of modes, building functions.

Imports only `model`.
"""
