"""Tests of the command line: options, settings, commands as subprocesses."""
