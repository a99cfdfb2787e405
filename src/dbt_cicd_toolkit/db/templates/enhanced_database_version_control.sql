-- The tables in which `dbt-cicd db` keeps what was done to a database. For reference, and for those who want to make
-- them as another user beforehand: the first `dbt-cicd db migrate` or `baseline` makes them itself, under its lock.

@ddl@;
