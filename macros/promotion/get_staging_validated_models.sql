{# The models that are ready for production: staging has the project's very code of them, for long enough and green, and promote_to_environment would
   accept them. What production has already is left out. Out: their names, comma-separated; '' when there are none. #}
{% macro get_staging_validated_models(min_days_in_staging=0, staging='staging', production='production') %}
    {% if not execute %}{{ return('') }}{% endif %}
    {% set where = 'get_staging_validated_models' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs) %}
    {% set days = dbt_cicd_toolkit._number_argument(where, 'min_days_in_staging', min_days_in_staging) %}
    {% set staging = dbt_cicd_toolkit._environment_argument(where, 'staging', staging) %}
    {% set production = dbt_cicd_toolkit._environment_argument(where, 'production', production) %}
    {% if not dbt_cicd_toolkit._open_for_read(where) %}
        {{ return(dbt_cicd_toolkit._emit(where, '')) }}
    {% endif %}
    {% set now = dbt_cicd_toolkit._read('select ' ~ dbt_cicd_toolkit._timestamp_text(dbt_cicd_toolkit._now(), exact=true) ~ ' as now')[0].now %}
    {% set limit = dbt_cicd_toolkit._time_before(now, days=days) %}
    {% set there = [] %}
    {% set requests = [] %}
    {% for row in dbt_cicd_toolkit._read_deployed(none, [staging]) if row.unique_id in graph.nodes %}
        {% if row.since <= limit and row.checksum == dbt_cicd_toolkit._checksum(graph.nodes[row.unique_id]) %}
            {% do there.append(row) %}
            {% do requests.append({'name': row.name, 'unique_id': row.unique_id, 'problem': none, 'version': none}) %}
        {% endif %}
    {% endfor %}
    {% set names = [] %}
    {% set index = dbt_cicd_toolkit._model_index().names %}
    {% if requests %}
        {% set options = {'require_tests': true, 'approved_by': none, 'failures': {}, 'now': now, 'ledger': true} %}
        {% set accepted = {} %}
        {% for item in dbt_cicd_toolkit._plan(where, production, requests, options) if item.action == 'promote' %}
            {% do accepted.update({item.unique_id: item.version}) %}
        {% endfor %}
        {% set green = dbt_cicd_toolkit._green_in(where, staging, there, limit, options) %}
        {% for row in there if row.unique_id in accepted and accepted[row.unique_id] == row.version and row.unique_id in green %}
            {% set name = dbt_cicd_toolkit._display_name(row.unique_id) %}
            {% do names.append(name if index[name] | length == 1 else row.unique_id.split('.')[1:] | join('.')) %}
        {% endfor %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, names | sort | join(','))) }}
{% endmacro %}

{# The models whose tests are green in an environment, and were not red after `limit`. In: rows of _read_deployed(). Out: [unique_id]. #}
{% macro _green_in(where, environment, rows, limit, options) %}
    {# Whether tests are required there is about putting models in; green is what is asked here. #}
    {% set settings = dbt_cicd_toolkit._merged([dbt_cicd_toolkit._environment(where, environment), {'require_tests': true}]) %}
    {% set items = [] %}
    {% for row in rows %}
        {% do items.append({'relation_name': graph.nodes[row.unique_id].relation_name or '' if settings.target == target.name else none,
            'model': row.name, 'unique_id': row.unique_id, 'version': row.version, 'checksum': row.checksum, 'project_checksum': row.checksum, 'reasons': [], 'warnings': []}) %}
    {% endfor %}
    {% do dbt_cicd_toolkit._gate_tests(items, environment, settings, options) %}
    {% set red = dbt_cicd_toolkit._read("select distinct t.unique_id from " ~ dbt_cicd_toolkit._rows(items, {'unique_id': 'text', 'checksum': 'text', 'relation_name': 'text'}) ~ " as m
        join " ~ dbt_cicd_toolkit._table('dbt_cicd_test_results') ~ " t on t.unique_id = m.unique_id and t.checksum = m.checksum
        where t.target = " ~ dbt_cicd_toolkit._literal(settings.target) ~ " and t.status not in ('pass', 'warn', 'success')
        and t.flags in ('', 'full_refresh') and (m.relation_name is null or t.relation_name = m.relation_name)
        and t.recorded_at > cast(" ~ dbt_cicd_toolkit._literal(limit) ~ " as " ~ dbt_cicd_toolkit._type('timestamp') ~ ")") | map(attribute='unique_id') | list %}
    {% set green = [] %}
    {% for item in items if not item.reasons and item.unique_id not in red %}
        {% do green.append(item.unique_id) %}
    {% endfor %}
    {{ return(green) }}
{% endmacro %}
