"""Keep the checkpoint tree of every guest equal to the tree that an operator wrote in YAML.

The distribution, the command and the service are called ``ckptree``; this import package is the whole of it.
The layers, from the bottom: ``names`` and ``errors``; ``model`` (plain data); ``contracts`` (what a host must be
able to do); ``simulate`` (a host in memory); ``spec`` (YAML to data), ``plan`` (data to data) and ``drivers``
(the real host); ``observe`` and ``execute``; ``render``; ``cli``.
"""

__version__ = "0.1.0"
