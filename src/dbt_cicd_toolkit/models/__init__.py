"""Versions and promotion of dbt models: build and test, gate, promote, report."""
