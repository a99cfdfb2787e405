{# Puts models into an environment, all of them or none. In: models a list or a comma-separated text; failures: {unique_id: message} of tests and
   models that the caller saw fail, which refuses even where the run that saw it could not record it. Out: the plan, see _promote(). #}
{% macro promote_to_environment(target_environment, models, require_tests=true, update_state=true, approved_by=none, description=none, failures=none) %}
    {% if not execute %}{{ return({}) }}{% endif %}
    {% set where = 'promote_to_environment' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs, writes=update_state) %}
    {% if failures is not none and failures is not mapping %}
        {% do dbt_cicd_toolkit._invalid(where, "failures is '" ~ (failures | string)[:300] ~ "'. Allowed: messages by the unique_ids of tests and models that failed.") %}
    {% endif %}
    {% set index = dbt_cicd_toolkit._model_index() %}
    {% set requests = [] %}
    {% for name in dbt_cicd_toolkit._names_argument(where, 'models', models) %}
        {% do requests.append(dbt_cicd_toolkit._merged([{'name': name, 'version': none}, dbt_cicd_toolkit._resolve(index, name)])) %}
    {% endfor %}
    {% set outcome = dbt_cicd_toolkit._promote(where, target_environment, dbt_cicd_toolkit._each_once(requests), require_tests, update_state, approved_by, description, failures or {}) %}
    {{ return(dbt_cicd_toolkit._finish(where, outcome)) }}
{% endmacro %}

{# `customers` and `shop.customers` are one model. The condition is no filter of the loop: dbt v2 filters before the first turn. #}
{% macro _each_once(requests) %}
    {% set seen = [] %}
    {% set once = [] %}
    {% for request in requests %}
        {% if request.unique_id is none or request.unique_id not in seen %}
            {% do once.append(request) %}
            {% do seen.append(request.unique_id) %}
        {% endif %}
    {% endfor %}
    {{ return(once) }}
{% endmacro %}
