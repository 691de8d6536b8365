"""Tests of `conformance.program`."""
