"""The real host: each driver knows one part of it and none of the others."""
