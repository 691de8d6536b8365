"""The in-tree backends, each declared as a third party would declare its own; see README.md beside this file."""
