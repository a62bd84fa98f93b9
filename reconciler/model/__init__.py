"""Plain data: what is desired, what was observed, the tree derived from it, and what is to be done.

Frozen dataclasses and pure functions on them, nothing else.
"""
