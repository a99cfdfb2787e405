#!/usr/bin/env python3
"""bump_version.py 1.2.3 patch|minor|major [--pre rc]: prints the next version. Works from a clone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dbt_cicd_toolkit.cli.version import bump_version

sys.exit(bump_version())
