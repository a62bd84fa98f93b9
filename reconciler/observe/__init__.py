"""Read what exists: one consistent-enough picture per VM, in which a gap is recorded as unknown, not as absent."""
