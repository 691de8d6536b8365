"""What a caller does before, around and after a call: a function for each move of `conformance.model.moves`.

Each takes a `Caller`, and is copied as it stands into scripts that reproduce a failure: it uses torch, the caller, and
functions of its own module alone.
"""
