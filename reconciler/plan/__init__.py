"""Decide what is to be done: (desired, observed, now) to a Plan; pure, the same input gives the same bytes.

``planner`` is the way in; ``gate``, ``head``, ``identity``, ``removals``, ``additions``, ``restore``, ``destroy`` and
``collect`` each decide one part of design section 5, on a ``draft`` that carries out on a host in memory what was
decided so far, so that a later part sees what the earlier ones will have done.
"""
