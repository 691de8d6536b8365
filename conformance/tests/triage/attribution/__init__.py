"""Tests of `conformance.triage.attribution`."""
