{# The columns a model has for those who read it. In: [unique_id]. Out: {unique_id: {source, items: [{name, type}], why}}:
   source 'contract' (it is enforced, so it is the promise), 'warehouse' (the newest build there is of the present code),
   or 'unknown', with the reason in `why`. Two queries for all models. #}
{% macro _known_columns(unique_ids) %}
    {% set known = {} %}
    {% set asked = [] %}
    {% for unique_id in unique_ids %}
        {% set node = graph.nodes[unique_id] %}
        {% set definition = dbt_cicd_toolkit._definition(node) %}
        {% if definition.contract %}
            {% do known.update({unique_id: {'source': 'contract', 'items': definition.columns}}) %}
        {% elif definition.materialized == 'ephemeral' %}
            {% do known.update({unique_id: {'source': 'unknown', 'items': [], 'why': 'an ephemeral model has no relation'}}) %}
        {% else %}
            {% do asked.append(unique_id) %}
        {% endif %}
    {% endfor %}
    {% if asked %}
        {% do known.update(dbt_cicd_toolkit._warehouse_columns(asked)) %}
    {% endif %}
    {{ return(known) }}
{% endmacro %}

{% macro _warehouse_columns(unique_ids) %}
    {% set wanted = [] %}
    {% for unique_id in unique_ids %}
        {% do wanted.append({'unique_id': unique_id, 'target': target.name, 'relation_name': graph.nodes[unique_id].relation_name or ''}) %}
    {% endfor %}
    {% set builds = dbt_cicd_toolkit._read_builds(wanted) %}
    {% set known = {} %}
    {% set relations = [] %}
    {% for unique_id in unique_ids %}
        {% set node = graph.nodes[unique_id] %}
        {% set build = builds.get(unique_id) %}
        {% if build and build.checksum == dbt_cicd_toolkit._checksum(node) %}
            {% do relations.append({'unique_id': unique_id, 'database_name': node.database, 'schema_name': node.schema, 'identifier': node.alias}) %}
            {% do known.update({unique_id: {'source': 'unknown', 'items': [], 'why': 'its relation is gone'}}) %}
        {% else %}
            {% do known.update({unique_id: {'source': 'unknown', 'items': [], 'why': ('the newest build in target ' ~ target.name ~ ' is of other code' if build
                else 'no build is recorded in target ' ~ target.name)}}) %}
        {% endif %}
    {% endfor %}
    {% if relations %}
        {% for row in dbt_cicd_toolkit._read(dbt_cicd_toolkit._columns_sql(relations)) %}
            {% if known[row.unique_id].source == 'unknown' %}
                {% do known.update({row.unique_id: {'source': 'warehouse', 'items': []}}) %}
            {% endif %}
            {% do known[row.unique_id]['items'].append({'name': row.column_name, 'type': row.data_type}) %}
        {% endfor %}
    {% endif %}
    {{ return(known) }}
{% endmacro %}

{# SQL: unique_id, column_name, data_type with its length and precision, in the order of the columns. #}
{% macro _columns_sql(relations) %}
    {{ return(adapter.dispatch('_columns_sql', 'dbt_cicd_toolkit')(
        dbt_cicd_toolkit._rows(relations, {'unique_id': 'text', 'database_name': 'text', 'schema_name': 'text', 'identifier': 'text'}))) }}
{% endmacro %}

{% macro default___columns_sql(relations) %}
    {{ return("select r.unique_id, c.column_name, c.data_type from " ~ relations ~ " as r
        join information_schema.columns c on c.table_schema = r.schema_name and c.table_name = r.identifier
        order by r.unique_id, c.ordinal_position") }}
{% endmacro %}

{% macro postgres___columns_sql(relations) %}
    {{ return("select r.unique_id, a.attname as column_name, format_type(a.atttypid, a.atttypmod) as data_type from " ~ relations ~ " as r
        join pg_catalog.pg_namespace n on n.nspname = r.schema_name
        join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = r.identifier
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        order by r.unique_id, a.attnum") }}
{% endmacro %}

{% macro duckdb___columns_sql(relations) %}
    {{ return("select r.unique_id, c.column_name, c.data_type from " ~ relations ~ " as r
        join duckdb_columns() c on c.database_name = r.database_name and c.schema_name = r.schema_name and c.table_name = r.identifier
        order by r.unique_id, c.column_index") }}
{% endmacro %}
