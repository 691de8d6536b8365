"""The cases of the suite: one YAML file an area and topic; see README.md beside this file."""
