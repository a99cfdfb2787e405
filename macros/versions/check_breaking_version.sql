{# Is a registered version breaking? Out: true or false; a version that is not registered is an error, not false. #}
{% macro check_breaking_version(model_name, version) %}
    {% if not execute %}{{ return(false) }}{% endif %}
    {% set where = 'check_breaking_version' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs) %}
    {% set parsed = dbt_cicd_toolkit._semver(where, version) %}
    {% set ledger = dbt_cicd_toolkit._open_for_read(where) %}
    {% set unique_id = dbt_cicd_toolkit._model_or_past(where, dbt_cicd_toolkit._model_index(), model_name, ledger) %}
    {% set found = dbt_cicd_toolkit._read("select is_breaking from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " where kind = 'model' and unique_id = "
        ~ dbt_cicd_toolkit._literal(unique_id) ~ " and version = " ~ dbt_cicd_toolkit._literal(parsed.version)) if ledger else [] %}
    {% if not found %}
        {% do dbt_cicd_toolkit._invalid(where, dbt_cicd_toolkit._unregistered(unique_id, parsed.version, ledger)) %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, found[0].is_breaking)) }}
{% endmacro %}

{# What to say of a version that is not registered. #}
{% macro _unregistered(unique_id, version, ledger) %}
    {% set known = dbt_cicd_toolkit._read("select version from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " where kind = 'model' and unique_id = "
        ~ dbt_cicd_toolkit._literal(unique_id) ~ " order by precedence_key desc limit 5") if ledger else [] %}
    {% set name = dbt_cicd_toolkit._display_name(unique_id) %}
    {{ return('version ' ~ version ~ ' of ' ~ name ~ ' is not registered. '
        ~ ('The highest registered: ' ~ known | map(attribute='version') | join(', ') ~ '. ' if known else 'It has no registered version. ')
        ~ "Register it: dbt run-operation register_version --args '{model_name: " ~ name ~ ', version: "' ~ version ~ "\"}'.") }}
{% endmacro %}
