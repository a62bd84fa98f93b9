"""A guest whose memory proves itself, for every test that freezes or restores one."""
