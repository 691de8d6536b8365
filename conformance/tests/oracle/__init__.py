"""Tests of `conformance.oracle`."""
