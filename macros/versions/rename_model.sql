{# Carries the history of a model over to its new name: copies its versions and deployments, which stay where they are too.
   In: the old name, known to the ledger and gone from the project; the new one, of a model of the project. Out: the new model's history. #}
{% macro rename_model(old, new) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set where = 'rename_model' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs, writes=true) %}
    {% set index = dbt_cicd_toolkit._model_index() %}
    {% set new_id = dbt_cicd_toolkit._model(where, index, new) %}
    {% do dbt_cicd_toolkit._open_for_write(where) %}
    {% set old_id = dbt_cicd_toolkit._model_or_past(where, index, old, true) %}
    {% if old_id in graph.nodes %}
        {% do dbt_cicd_toolkit._invalid(where, "model '" ~ old ~ "' is still in the project. Rename its file first; then carry its history over.") %}
    {% endif %}
    {% set versions = dbt_cicd_toolkit._table('dbt_cicd_versions') %}
    {% set clash = dbt_cicd_toolkit._read("select n.version from " ~ versions ~ " n join " ~ versions ~ " o on o.kind = n.kind and o.version = n.version and o.checksum <> n.checksum
        where n.kind = 'model' and n.unique_id = " ~ dbt_cicd_toolkit._literal(new_id) ~ " and o.unique_id = " ~ dbt_cicd_toolkit._literal(old_id)) %}
    {% if clash %}
        {% do dbt_cicd_toolkit._differs(where, 'both models registered ' ~ clash | map(attribute='version') | join(', ') ~ ' with other code, and a registered version never changes. Nothing was carried over.') %}
    {% endif %}
    {% set statements = [] %}
    {% for table in ['dbt_cicd_versions', 'dbt_cicd_deployments'] %}
        {% set values = [] %}
        {% for column in dbt_cicd_toolkit._ledger_tables()[table] %}
            {% do values.append({'id': "md5(id || " ~ dbt_cicd_toolkit._literal('|' ~ new_id) ~ ")", 'unique_id': dbt_cicd_toolkit._literal(new_id),
                'name': dbt_cicd_toolkit._literal(dbt_cicd_toolkit._display_name(new_id)), 'renamed_from': dbt_cicd_toolkit._literal(old_id)}.get(column, column)) %}
        {% endfor %}
        {% do statements.append('insert into ' ~ dbt_cicd_toolkit._table(table) ~ ' (' ~ dbt_cicd_toolkit._ledger_tables()[table].keys() | join(', ') ~ ') select ' ~ values | join(', ')
            ~ ' from ' ~ dbt_cicd_toolkit._table(table) ~ " where kind = 'model' and unique_id = " ~ dbt_cicd_toolkit._literal(old_id) ~ ' on conflict do nothing; ') %}
    {% endfor %}
    {% do dbt_cicd_toolkit._commit(statements) %}
    {% set documents = dbt_cicd_toolkit._documents([new_id], []) %}
    {{ return(dbt_cicd_toolkit._finish(where, {'value': fromjson(documents[0].text), 'documents': documents})) }}
{% endmacro %}
