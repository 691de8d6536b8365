"""Tests of `conformance.triage.explain`."""
