#!/usr/bin/env python
"""`dbt-cicd db` from a clone: python scripts/db_version_manager.py status"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dbt_cicd_toolkit.cli.db import command
from dbt_cicd_toolkit.cli.main import run

if __name__ == "__main__":
    sys.exit(run(command, "db_version_manager.py"))
