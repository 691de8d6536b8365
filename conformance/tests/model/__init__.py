"""Tests of `conformance.model`."""
