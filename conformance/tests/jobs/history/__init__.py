"""How many of PyTorch's own past bugs the suite shows; `python -m conformance.tests.jobs.history FOLDER`."""
