"""What a host must be able to do, as protocols: ``drivers`` do it for real, ``simulate`` in memory."""
