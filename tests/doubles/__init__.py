"""Stand-ins for bhyve, bhyvectl, vm-bhyve and sysctl with real memory underneath: README.md says what they obey."""
