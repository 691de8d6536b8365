"""The results as a static site: pages, search and comparison in the browser, from record files alone."""

from __future__ import annotations
