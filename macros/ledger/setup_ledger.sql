{# Creates the ledger, or upgrades it in place, and grants pipelines what they need of it. In: the roles to grant to. Out: {schema, created, granted_to}. #}
{% macro setup_ledger(grant_to=none) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% do dbt_cicd_toolkit._check_call('setup_ledger', kwargs, writes=true) %}
    {% set roles = dbt_cicd_toolkit._names_argument('setup_ledger', 'grant_to', grant_to) if grant_to else [] %}
    {% set state = dbt_cicd_toolkit._ledger_state() %}
    {% do dbt_cicd_toolkit._check_major('setup_ledger', state) %}
    {% do dbt_cicd_toolkit._create_ledger('setup_ledger', state, roles=roles, asked=true) %}
    {{ return(dbt_cicd_toolkit._emit('setup_ledger', {'schema': dbt_cicd_toolkit._config('ledger_schema'), 'created': state.missing, 'granted_to': roles})) }}
{% endmacro %}

{# DDL only when something is missing, and one process at a time: concurrent `create … if not exists` fail on PostgreSQL. #}
{% macro _create_ledger(where, state, roles=[], asked=false) %}
    {% if state.missing and not (state.creatable and (asked or dbt_cicd_toolkit._config('create_ledger'))) %}
        {% do dbt_cicd_toolkit._refused(where, dbt_cicd_toolkit._cannot_create(state)) %}
    {% endif %}
    {% do dbt_cicd_toolkit._lock(where) %}
    {% do dbt_cicd_toolkit._create_ledger_locked(roles) %}
    {% do dbt_cicd_toolkit._unlock() %}
{% endmacro %}

{% macro _create_ledger_locked(roles=[]) %}
    {% set schema = dbt_cicd_toolkit._config('ledger_schema') %}
    {% set state = dbt_cicd_toolkit._ledger_state() %}
    {% set missing = state.missing %}
    {% set statements = [] %}
    {% if missing %}
        {# PostgreSQL asks for the right to create schemas even of `if not exists`. #}
        {% if not state.has_schema %}
            {% do statements.append('create schema if not exists ' ~ dbt_cicd_toolkit._identifier(target.database) ~ '.' ~ dbt_cicd_toolkit._identifier(schema)
                if target.type == 'duckdb' else 'create schema if not exists ' ~ dbt_cicd_toolkit._identifier(schema)) %}
        {% endif %}
        {% for table, columns in dbt_cicd_toolkit._ledger_tables().items() %}
            {% if table in missing %}
                {% set lines = [] %}
                {% for column, type in columns.items() %}
                    {% do lines.append(column ~ ' ' ~ dbt_cicd_toolkit._type(type)) %}
                {% endfor %}
                {% do statements.append('create table ' ~ dbt_cicd_toolkit._table(table) ~ ' (' ~ lines | join(', ') ~ ')') %}
            {% else %}
                {% for column, type in columns.items() if table ~ '.' ~ column in missing %}
                    {% do statements.append('alter table ' ~ dbt_cicd_toolkit._table(table) ~ ' add column ' ~ column ~ ' ' ~ dbt_cicd_toolkit._type(type)) %}
                {% endfor %}
            {% endif %}
        {% endfor %}
        {% do statements.append('insert into ' ~ dbt_cicd_toolkit._table('dbt_cicd_ledger') ~ ' (major, package_version, recorded_by, recorded_at) select '
            ~ dbt_cicd_toolkit._ledger_major() ~ ', ' ~ dbt_cicd_toolkit._literal(dbt_cicd_toolkit._package_version()) ~ ', '
            ~ dbt_cicd_toolkit._recorded_by() ~ ', ' ~ dbt_cicd_toolkit._now()) %}
    {% endif %}
    {% do statements.extend(dbt_cicd_toolkit._index_statements()) %}
    {% for role in roles %}
        {% set name = dbt_cicd_toolkit._identifier(role) %}
        {% do statements.append('grant usage on schema ' ~ dbt_cicd_toolkit._identifier(schema) ~ ' to ' ~ name) %}
        {% for table in dbt_cicd_toolkit._ledger_tables() %}
            {% do statements.append('grant select, insert on ' ~ dbt_cicd_toolkit._table(table) ~ ' to ' ~ name) %}
        {% endfor %}
    {% endfor %}
    {% if statements %}
        {% do dbt_cicd_toolkit._commit([statements | join('; ') ~ '; ']) %}
    {% endif %}
{% endmacro %}

{% macro _cannot_create(state) %}
    {{ return("the ledger lacks " ~ ('its tables' if not state.tables else state.missing | join(', ')) ~ " in schema '" ~ dbt_cicd_toolkit._config('ledger_schema')
        ~ "' and the database user '" ~ (target.user or 'unknown') ~ "' may not create them. The owner runs `dbt run-operation setup_ledger --args '{grant_to: [\""
        ~ (target.user or 'user') ~ "\"]}'` once.") }}
{% endmacro %}

{# SQL for the indexes that are missing: they may be all that an older ledger lacks. #}
{% macro _index_statements() %}
    {{ return(adapter.dispatch('_index_statements', 'dbt_cicd_toolkit')()) }}
{% endmacro %}

{% macro default___index_statements() %}
    {{ return([]) }}
{% endmacro %}

{% macro postgres___index_statements() %}
    {% set statements = [] %}
    {# Only the owner may even ask for `if not exists`. #}
    {% set there = dbt_cicd_toolkit._read('select indexname from pg_catalog.pg_indexes where schemaname = '
        ~ dbt_cicd_toolkit._literal(dbt_cicd_toolkit._config('ledger_schema'))) | map(attribute='indexname') | list %}
    {% for table, indexes in dbt_cicd_toolkit._ledger_indexes().items() %}
        {% set unique = (indexes.keys() | list)[:1] %}
        {% for name, columns in indexes.items() if name not in there %}
            {% do statements.append('create ' ~ ('unique ' if name in unique else '') ~ 'index if not exists ' ~ name ~ ' on ' ~ dbt_cicd_toolkit._table(table) ~ ' (' ~ columns ~ ')') %}
        {% endfor %}
    {% endfor %}
    {{ return(statements) }}
{% endmacro %}

{# The unique ones only: DuckDB reads a column faster than it finds it in an index. #}
{% macro duckdb___index_statements() %}
    {% set statements = [] %}
    {% for table, indexes in dbt_cicd_toolkit._ledger_indexes().items() %}
        {% for name in (indexes.keys() | list)[:1] %}
            {% do statements.append('create unique index if not exists ' ~ name ~ ' on ' ~ dbt_cicd_toolkit._table(table) ~ ' (' ~ indexes[name] ~ ')') %}
        {% endfor %}
    {% endfor %}
    {{ return(statements) }}
{% endmacro %}
