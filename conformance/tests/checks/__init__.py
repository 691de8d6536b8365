"""Tests of `conformance.checks`."""
