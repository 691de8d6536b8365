"""One function in one forked child: the fork server, the child, its supervisor and their messages; no cases.

Imports only `model` and `program`.
"""
