"""Tests of `conformance.timing`."""
