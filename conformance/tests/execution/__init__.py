"""Tests of `conformance.execution`."""
