{# The highest registered version of a model, or with `environment` the one that is there now. Out: a version; 0.0.0 when there is none. #}
{% macro get_latest_version(model_name, environment=none) %}
    {% if not execute %}{{ return('0.0.0') }}{% endif %}
    {% set where = 'get_latest_version' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs) %}
    {% set environment = dbt_cicd_toolkit._environment_argument(where, 'environment', environment, required=false) %}
    {% set ledger = dbt_cicd_toolkit._open_for_read(where) %}
    {% set unique_id = dbt_cicd_toolkit._model_or_past(where, dbt_cicd_toolkit._model_index(), model_name, ledger) %}
    {% if not ledger %}
        {{ return(dbt_cicd_toolkit._emit(where, '0.0.0')) }}
    {% endif %}
    {% if environment %}
        {% set rows = dbt_cicd_toolkit._read_deployed([unique_id], [environment]) %}
        {{ return(dbt_cicd_toolkit._emit(where, (rows[0].version if rows else none) or '0.0.0')) }}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, dbt_cicd_toolkit._read_latest([unique_id]).get(unique_id, {}).get('version', '0.0.0'))) }}
{% endmacro %}
