"""What stands for FreeBSD in the tests of the service files."""
