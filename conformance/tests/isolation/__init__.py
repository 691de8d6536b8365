"""Tests of `conformance.isolation`."""
