"""Everything that speaks to PostgreSQL without dbt."""
