"""Tests of `conformance.triage.fuzz`."""
