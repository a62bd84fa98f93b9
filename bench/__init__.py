"""Measurements of ckptree against the same work done bare, in the lab (`script/bench`); no part of the program.

Everything is compared within one run: the lab's machine is emulated, so seconds mean nothing there and ratios do.
"""
