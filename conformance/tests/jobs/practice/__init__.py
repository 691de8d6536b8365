"""Functions and modules as public projects write them, by domain: what the judge must not call wrong without a reason.

Each file is a user's file: it imports torch alone, and `conformance check FILE:NAME` takes every public name that has
a `NAME_inputs` beside it. `conformance.tests.jobs.false_alarms` runs them all.
"""
