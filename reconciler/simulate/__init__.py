"""A host in memory: plans are rehearsed on it before they run, and tests use it as their world."""
