"""What went on, for people and machines: never raises into a session, and never lets one wait."""
