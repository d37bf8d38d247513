"""Flows: whole commands as subprocesses, against the sandbox over real HTTP."""
