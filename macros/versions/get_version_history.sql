{# The versions of a model and their deployments, as target/versions/<model>.json has them. In: `environment` leaves only the versions
   that were ever there. Out: {model, versions: […], unique_id, in_project, as_of}. #}
{% macro get_version_history(model_name, environment=none) %}
    {% if not execute %}{{ return({}) }}{% endif %}
    {% set where = 'get_version_history' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs) %}
    {% set environment = dbt_cicd_toolkit._environment_argument(where, 'environment', environment, required=false) %}
    {% set ledger = dbt_cicd_toolkit._open_for_read(where) %}
    {% set unique_id = dbt_cicd_toolkit._model_or_past(where, dbt_cicd_toolkit._model_index(), model_name, ledger) %}
    {% if ledger %}
        {% set history = fromjson(dbt_cicd_toolkit._documents([unique_id], [])[0].text) %}
    {% else %}
        {% set history = {'model': dbt_cicd_toolkit._display_name(unique_id), 'versions': [], 'unique_id': unique_id, 'in_project': true, 'as_of': none} %}
    {% endif %}
    {% if environment %}
        {% set there = [] %}
        {% for entry in history.versions if environment in entry.environments %}
            {% do there.append(entry) %}
        {% endfor %}
        {% do history.update({'versions': there}) %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, history)) }}
{% endmacro %}
