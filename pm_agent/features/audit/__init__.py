"""What happened, told from the journal alone. Nothing here decides; there are no commands."""
