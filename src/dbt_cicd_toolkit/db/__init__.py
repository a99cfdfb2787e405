"""Git for databases: versioned SQL migrations, their rollbacks and their history."""
