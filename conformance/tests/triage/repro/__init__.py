"""Tests of `conformance.triage.repro`."""
