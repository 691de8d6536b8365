"""The nouns of the suite: frozen dataclasses, enums, errors, and the codec between them and plain data.

Imports the standard library and, for the codec and versions, pydantic and packaging; nothing else of the suite.
"""
