"""The programs of the issues, as a user would give them to `conformance check`."""
