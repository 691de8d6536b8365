"""Tests of `conformance.observation`."""
