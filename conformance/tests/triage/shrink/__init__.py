"""Tests of `conformance.triage.shrink`."""
