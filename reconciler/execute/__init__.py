"""Carry plans out, step by step, with a journal record before and after each."""
