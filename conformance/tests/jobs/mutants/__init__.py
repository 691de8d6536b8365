"""How many machine-made mutants of PyTorch's compiler the suite kills; `python -m conformance.tests.jobs.mutants`."""
