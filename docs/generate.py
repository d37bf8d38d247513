"""Generator of all pages that are made from the source, and of schema.json: `python docs/generate.py`.

It runs each generator of this directory but that of the pictures, which needs a terminal and minutes.
"""

import runpy
from pathlib import Path

GENERATORS = ("generate_checks.py", "generate_commands.py", "generate_errors.py", "generate_schema.py")

if __name__ == "__main__":
    for name in GENERATORS:
        runpy.run_path(str(Path(__file__).with_name(name)), run_name="__main__")
