"""Tests of `conformance.report`."""
