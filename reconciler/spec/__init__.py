"""YAML text to typed data: what an operator wrote, with every fault of it at its line and column.

``load`` is the way in. Below it, in the order of the work: ``text`` (bytes to characters),
``parse`` (to the syntax tree of ``syntax``), ``schema`` (the published JSON Schema), ``vm`` and
``nodes`` (to the types of ``model.desired``), ``checks`` (one document) and ``across`` (all of them
together). Nothing here looks at the host beyond the files it is told to read, and nothing reads a
clock.
"""
