"""Guests under real hypervisors; each module implements ``contracts.guest.Guest`` for one of them.

``choose`` finds the one for a VM. Guests that ckptree starts are kept by a process of their own (``keeper``), which
``client`` talks to.
"""
