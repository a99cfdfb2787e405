"""Helpers of the tests; tests/integration/conftest.py puts this folder's parent on the import path."""
