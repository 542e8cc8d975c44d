"""Print a command block of the README: the one under the comment <!-- ci: NAME -->.

python3 scripts/readme_command.py NAME
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def command(name: str, text: str) -> str:
    """The shell commands under that comment; SystemExit if there are none."""
    found = re.findall(rf"<!-- ci: {re.escape(name)} -->\n```sh\n(.*?)```", text, re.DOTALL)
    if len(found) != 1:
        sys.exit(f"README.md: expected one block under <!-- ci: {name} -->, found {len(found)}")
    return str(found[0])


if __name__ == "__main__":
    print(command(sys.argv[1], README.read_text("utf-8")), end="")
