"""The job that writes `cases/operations.json` from PyTorch's descriptions of its operations, and its audit.

    python -m conformance.tests.jobs.operations

Each entry of `op_db` is written out: its name and other forms, one sample or a few that together reach every overload
that any of its samples reaches, their inputs as seeded numbers where any numbers in their range will do, and as values
where only these will (positive-definite matrices, indices without repetition). Of all points of the axes a
pairwise-covering choice is run uncompiled, as the suite itself does, and kept where that works.
"""
