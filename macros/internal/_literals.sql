{# The only way a text of a user's reaches SQL. dbt.string_literal alone does not escape. #}
{% macro _literal(value) %}
    {% if value is none or value is not defined %}
        {{ return('null') }}
    {% endif %}
    {{ return(adapter.dispatch('_literal', 'dbt_cicd_toolkit')(value | string)) }}
{% endmacro %}

{% macro default___literal(value) %}
    {{ return(dbt.string_literal(dbt.escape_single_quotes(value))) }}
{% endmacro %}

{# An escape string where there is a backslash: a role may have standard_conforming_strings = off. #}
{% macro postgres___literal(value) %}
    {% set literal = dbt.string_literal(dbt.escape_single_quotes(value)) %}
    {{ return(literal if '\\' not in value else 'E' ~ literal | replace('\\', '\\\\')) }}
{% endmacro %}

{# An identifier, whatever it holds. #}
{% macro _identifier(name) %}
    {{ return(adapter.quote(name | replace('"', '""'))) }}
{% endmacro %}

{# Rows as a relation that a FROM clause takes. In: a list of dicts; columns {name: text | boolean | integer | timestamp}
   (a missing key is null). One JSON literal where the warehouse reads JSON: a literal per cell takes the seconds of a
   thousand models. Out: SQL text `(select …)`, which the caller gives an alias. #}
{% macro _rows(rows, columns) %}
    {{ return(adapter.dispatch('_rows', 'dbt_cicd_toolkit')(rows, columns)) }}
{% endmacro %}

{% macro default___rows(rows, columns) %}
    {% set lines = [] %}
    {% for row in rows %}
        {% set cells = [] %}
        {% for name, type in columns.items() %}
            {% do cells.append('cast(' ~ dbt_cicd_toolkit._literal(row.get(name)) ~ ' as ' ~ dbt_cicd_toolkit._type(type) ~ ') as ' ~ name) %}
        {% endfor %}
        {% do lines.append('select ' ~ cells | join(', ')) %}
    {% endfor %}
    {{ return('(' ~ lines | join(' union all ') ~ ')') }}
{% endmacro %}

{% macro postgres___rows(rows, columns) %}
    {% set types = [] %}
    {% for name, type in columns.items() %}
        {% do types.append(name ~ ' ' ~ dbt_cicd_toolkit._type(type)) %}
    {% endfor %}
    {{ return('(select * from json_to_recordset(' ~ dbt_cicd_toolkit._literal(tojson(rows)) ~ ') as _rows(' ~ types | join(', ') ~ '))') }}
{% endmacro %}

{% macro duckdb___rows(rows, columns) %}
    {% set shape = {} %}
    {% for name, type in columns.items() %}
        {% do shape.update({name: dbt_cicd_toolkit._type(type)}) %}
    {% endfor %}
    {{ return('(select ' ~ columns.keys() | join(', ') ~ ' from (select unnest(from_json(' ~ dbt_cicd_toolkit._literal(tojson(rows)) ~ ', '
        ~ dbt_cicd_toolkit._literal(tojson([shape])) ~ '), recursive := true)))') }}
{% endmacro %}

{# The warehouse's name of a ledger type. `key` sorts bytewise. #}
{% macro _type(type) %}
    {{ return(adapter.dispatch('_type', 'dbt_cicd_toolkit')(type)) }}
{% endmacro %}

{% macro default___type(type) %}
    {{ return({'text': dbt.type_string(), 'key': dbt.type_string(), 'boolean': dbt.type_boolean(),
               'integer': dbt.type_int(), 'timestamp': dbt.type_timestamp()}[type]) }}
{% endmacro %}

{% macro postgres___type(type) %}
    {{ return({'text': 'text', 'key': 'text collate "C"', 'boolean': 'boolean', 'integer': 'integer', 'timestamp': 'timestamp'}[type]) }}
{% endmacro %}

{# The rows of a query as a list of dicts, with the same Python types on every engine: one JSON text where the warehouse
   makes JSON (agate reads '' and 'null' as nothing and dbt v2 gives numerics as texts). `before` is SQL to run first, in
   the same call. The order of the query is kept. #}
{% macro _read(sql, before='') %}
    {{ return(adapter.dispatch('_read', 'dbt_cicd_toolkit')(sql, before)) }}
{% endmacro %}

{% macro default___read(sql, before) %}
    {% set table = run_query(before ~ sql) %}
    {% set rows = [] %}
    {% for line in table.rows %}
        {% set row = {} %}
        {% for name in table.column_names %}
            {% do row.update({name | lower: line[loop.index0]}) %}
        {% endfor %}
        {% do rows.append(row) %}
    {% endfor %}
    {{ return(rows) }}
{% endmacro %}

{% macro postgres___read(sql, before) %}
    {% set table = run_query(before ~ "select coalesce(json_agg(row_to_json(_read)), '[]')::text from (" ~ sql ~ ') as _read') %}
    {{ return(fromjson(table.rows[0][0])) }}
{% endmacro %}

{% macro duckdb___read(sql, before) %}
    {% set table = run_query(before ~ "select cast(coalesce(to_json(list(_read)), '[]') as varchar) from (" ~ sql ~ ') as _read') %}
    {{ return(fromjson(table.rows[0][0])) }}
{% endmacro %}

{# SQL: a text expression as a JSON string, quotes and all; null becomes null. #}
{% macro _json_string(expression) %}
    {{ return(adapter.dispatch('_json_string', 'dbt_cicd_toolkit')(expression)) }}
{% endmacro %}

{% macro default___json_string(expression) %}
    {% set sql = 'cast(' ~ expression ~ ' as ' ~ dbt.type_string() ~ ')' %}
    {% for raw, escaped in [['\\', '\\\\'], ['"', '\\"'], ['\n', '\\n'], ['\r', '\\r'], ['\t', '\\t']] %}
        {% set sql = 'replace(' ~ sql ~ ', ' ~ dbt_cicd_toolkit._literal(raw) ~ ', ' ~ dbt_cicd_toolkit._literal(escaped) ~ ')' %}
    {% endfor %}
    {{ return("coalesce('\"' || " ~ sql ~ " || '\"', 'null')") }}
{% endmacro %}

{% macro postgres___json_string(expression) %}
    {{ return("coalesce(to_json(cast(" ~ expression ~ " as text))::text, 'null')") }}
{% endmacro %}

{% macro duckdb___json_string(expression) %}
    {{ return("coalesce(cast(to_json(cast(" ~ expression ~ " as varchar)) as varchar), 'null')") }}
{% endmacro %}

{# SQL: a UTC timestamp as `YYYY-MM-DD HH:MM:SS`, or to the microsecond. #}
{% macro _timestamp_text(expression, exact=false) %}
    {{ return(adapter.dispatch('_timestamp_text', 'dbt_cicd_toolkit')(expression, exact)) }}
{% endmacro %}

{% macro default___timestamp_text(expression, exact) %}
    {{ return('substring(cast(' ~ expression ~ ' as ' ~ dbt.type_string() ~ '), 1, ' ~ (26 if exact else 19) ~ ')') }}
{% endmacro %}

{% macro postgres___timestamp_text(expression, exact) %}
    {{ return('to_char(' ~ expression ~ ", 'YYYY-MM-DD HH24:MI:SS" ~ ('.US' if exact else '') ~ "')") }}
{% endmacro %}

{% macro duckdb___timestamp_text(expression, exact) %}
    {{ return('strftime(' ~ expression ~ ", '%Y-%m-%d %H:%M:%S" ~ ('.%f' if exact else '') ~ "')") }}
{% endmacro %}

{# SQL: the server's clock, UTC, without a zone. #}
{% macro _now() %}
    {{ return(adapter.dispatch('_now', 'dbt_cicd_toolkit')()) }}
{% endmacro %}

{% macro default___now() %}
    {{ return('cast(current_timestamp as ' ~ dbt.type_timestamp() ~ ')') }}
{% endmacro %}

{% macro postgres___now() %}
    {{ return("(clock_timestamp() at time zone 'utc')") }}
{% endmacro %}

{# Not `at time zone`, which needs DuckDB's ICU extension. #}
{% macro duckdb___now() %}
    {{ return('make_timestamp(epoch_us(now()))') }}
{% endmacro %}

{# A UUID for a row: the same call never gives two rows one, nor do two calls. #}
{% macro _uuid(seed) %}
    {% set hash = local_md5(invocation_id ~ '|' ~ modules.datetime.datetime.utcnow() ~ '|' ~ seed) %}
    {{ return(hash[:8] ~ '-' ~ hash[8:12] ~ '-4' ~ hash[13:16] ~ '-8' ~ hash[17:20] ~ '-' ~ hash[20:32]) }}
{% endmacro %}
