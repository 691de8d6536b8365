"""Tests of `conformance.maintenance`."""
