{# Puts one registered version of a model into an environment; an older one is the rollback, and its gate looks at that version's code.
   Out: the version's entry, as in target/versions/<model>.json. #}
{% macro deploy_version(model_name, version, environment, require_tests=true, approved_by=none, description=none) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set where = 'deploy_version' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs, writes=true) %}
    {% set unique_id = dbt_cicd_toolkit._model(where, dbt_cicd_toolkit._model_index(), model_name) %}
    {% set parsed = dbt_cicd_toolkit._semver(where, version) %}
    {% set outcome = dbt_cicd_toolkit._promote(where, environment, [{'name': model_name, 'unique_id': unique_id, 'problem': none, 'version': parsed.version}],
        require_tests, true, approved_by, description) %}
    {% set documents = dbt_cicd_toolkit._documents([unique_id], outcome.touched.environments) %}
    {% set value = dbt_cicd_toolkit._entry_of(documents[0].text, parsed.version) %}
    {{ return(dbt_cicd_toolkit._finish(where, {'value': outcome.value if outcome.refusal else value, 'documents': documents, 'refusal': outcome.refusal})) }}
{% endmacro %}
