"""Child side: a program driven through its calls, snapshots of what it gives, and comparing them.

Imports only `model`, `program`, `isolation`, `backend` and `catalogue`.
"""
