"""Tests of `conformance.catalogue`."""
