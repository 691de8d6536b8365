"""Tests of `conformance.records`."""
