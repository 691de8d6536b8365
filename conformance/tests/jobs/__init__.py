"""Jobs that measure the suite on whole runs, and their tests; no tests of the suite itself."""
