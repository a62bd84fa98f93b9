"""The host's ZFS: one way to read it, two ways to write it, chosen by ``choose.open_zfs``."""
