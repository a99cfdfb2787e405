"""Versions of pipeline jobs side by side. What a DAG imports from here needs the standard library and packaging."""
