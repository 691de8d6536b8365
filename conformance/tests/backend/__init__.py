"""Tests of `conformance.backend`."""
