"""Where the serving folder is; its clients are scripts, not parts of the package."""

import sys
from pathlib import Path

EXPORT = Path(__file__).parents[2] / "export"
sys.path.insert(0, str(EXPORT))
