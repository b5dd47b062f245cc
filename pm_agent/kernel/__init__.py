"""The engine: commands in, events out, world kept. Sans-IO; knows no feature by name."""
