"""What several test rings share."""
