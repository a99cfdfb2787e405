{# Every setting of the package and its default, in one place: in an on-run-end hook only the flat
   variables of the root project are visible, so a default cannot live in our dbt_project.yml. #}
{% macro _config(name) %}
    {% set defaults = {
        'ledger_schema': 'dbt_cicd',
        'create_ledger': true,
        'record_evidence': true,
        'write_mirror': true,
        'lock_timeout_seconds': 60,
        'actor': none,
        'git_commit': none,
        'first_version': '1.0.0',
        'breaking_policy': 'warn',
        'require_registered': false,
        'untested_models': 'warn',
        'evidence_max_age_hours': none,
        'environments': {},
    } %}
    {% if name not in defaults %}
        {% do exceptions.raise_compiler_error('dbt_cicd_toolkit._config(): no setting is named ' ~ name) %}
    {% endif %}
    {% set value = var('dbt_cicd_toolkit_' ~ name, defaults[name]) %}
    {% set choices = {'breaking_policy': ['warn', 'refuse', 'off'], 'untested_models': ['warn', 'refuse']} %}
    {% if name in choices and value not in choices[name] %}
        {% do dbt_cicd_toolkit._invalid('_config', "the variable dbt_cicd_toolkit_" ~ name ~ " is '" ~ value ~ "'. Allowed: "
            ~ choices[name] | join(', ') ~ ". Change it in dbt_project.yml or --vars.") %}
    {% endif %}
    {{ return(value) }}
{% endmacro %}
