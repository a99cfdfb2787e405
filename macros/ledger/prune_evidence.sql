{# Deletes evidence older than `keep_days`: builds and test results, nothing else. The newest build of every relation stays, since it says what
   is there, and so does a newest outcome that refuses. Needs the right to DELETE, which pipelines do not have. Out: {builds, test_results}: rows deleted. #}
{% macro prune_evidence(keep_days) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set where = 'prune_evidence' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs, writes=true) %}
    {% set days = dbt_cicd_toolkit._number_argument(where, 'keep_days', keep_days) %}
    {% set now = dbt_cicd_toolkit._open_for_write(where) %}
    {% set limit = 'cast(' ~ dbt_cicd_toolkit._literal(dbt_cicd_toolkit._time_before(now, days=days)) ~ ' as ' ~ dbt_cicd_toolkit._type('timestamp') ~ ')' %}
    {% set builds = dbt_cicd_toolkit._table('dbt_cicd_builds') %}
    {% set tests = dbt_cicd_toolkit._table('dbt_cicd_test_results') %}
    {% set old_builds = "b.recorded_at < " ~ limit ~ " and exists (select 1 from " ~ builds ~ " n where n.unique_id = b.unique_id and n.target = b.target
        and n.relation_name = b.relation_name and n.status = 'success' and (n.recorded_at > b.recorded_at or (n.recorded_at = b.recorded_at and n.id > b.id)))" %}
    {% set old_tests = "t.recorded_at < " ~ limit ~ " and (t.status in ('pass', 'warn', 'success') or exists (select 1 from " ~ tests ~ " n where n.unique_id = t.unique_id
        and n.checksum = t.checksum and n.target = t.target and n.test_type = t.test_type and n.test_unique_id = t.test_unique_id and n.recorded_at > t.recorded_at))" %}
    {% set counts = dbt_cicd_toolkit._read("select (select count(*) from " ~ builds ~ " b where " ~ old_builds ~ ") as builds, (select count(*) from " ~ tests ~ " t where " ~ old_tests ~ ") as test_results")[0] %}
    {% do dbt_cicd_toolkit._commit(['delete from ' ~ builds ~ ' as b where ' ~ old_builds ~ '; ', 'delete from ' ~ tests ~ ' as t where ' ~ old_tests ~ '; ']) %}
    {% do dbt_cicd_toolkit._unlock() %}
    {{ return(dbt_cicd_toolkit._emit(where, {'builds': counts.builds, 'test_results': counts.test_results})) }}
{% endmacro %}
