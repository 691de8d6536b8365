"""From an attempt to a verdict: outcome, expectations, symptom, and the first rung of the ladder that fails.

Imports only `model`, `program`, `isolation`, `backend`, `catalogue` and `observation`; not `checks` nor `oracle`.
"""
