"""This room says the engine's events: to people, to logs, to scripts."""
