"""Everything the suite asks of a backend, asked of Acme."""

from conformance.suite.test_conformance import test_conforms  # noqa: F401
