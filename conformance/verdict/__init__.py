"""From an attempt to a verdict: outcome, expectations, symptom, and the rung of the ladder that it begins at.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `checks` nor `oracle`.
"""
