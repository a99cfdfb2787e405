#!/usr/bin/env python3
"""promote_models.py --target-environment production --models customers,orders: `dbt-cicd promote`, from a clone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from dbt_cicd_toolkit.cli.promote import promote_models

sys.exit(promote_models())
