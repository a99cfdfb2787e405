{# Writes every document of the mirror again from the ledger: after `dbt clean`, on a fresh machine, after a kill.
   In: models, to write only theirs. Out: the paths below target/. #}
{% macro export_state(models=none) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set where = 'export_state' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs) %}
    {% if not dbt_cicd_toolkit._open_for_read(where) %}
        {{ return(dbt_cicd_toolkit._emit(where, [])) }}
    {% endif %}
    {% do dbt_cicd_toolkit._lock(where) %}
    {% if models is none %}
        {% set unique_ids = dbt_cicd_toolkit._read("select unique_id from " ~ dbt_cicd_toolkit._distinct('dbt_cicd_versions', 'unique_id') ~ " as v
            union select unique_id from " ~ dbt_cicd_toolkit._distinct('dbt_cicd_deployments', 'unique_id') ~ " as d order by unique_id") | map(attribute='unique_id') | list %}
    {% else %}
        {% set unique_ids = dbt_cicd_toolkit._named_models(where, models) %}
    {% endif %}
    {% set environments = dbt_cicd_toolkit._read("select environment from " ~ dbt_cicd_toolkit._distinct('dbt_cicd_promotions', 'environment') ~ " as e order by environment") | map(attribute='environment') | list %}
    {% set documents = dbt_cicd_toolkit._documents(unique_ids, environments) %}
    {{ return(dbt_cicd_toolkit._finish(where, {'value': documents | map(attribute='path') | list, 'documents': documents})) }}
{% endmacro %}
