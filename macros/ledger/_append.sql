{# SQL that appends rows to a ledger table, ended by ';'. In: rows as dicts (a missing column is null, a missing id is made);
   `now` as _open_for_write() gave it; `resolve` {column: SQL} replaces a column by an expression over the row `r`;
   `kind` of what the rows are about.
   A row whose unique key is there already is left out; the caller looks at what is there afterwards. #}
{% macro _append_sql(table, rows, now, resolve={}, kind='model') %}
    {% set columns = dbt_cicd_toolkit._ledger_tables()[table] %}
    {% set shared = {
        'recorded_by': dbt_cicd_toolkit._recorded_by(),
        'recorded_at': 'cast(' ~ dbt_cicd_toolkit._literal(now) ~ ' as ' ~ dbt_cicd_toolkit._type('timestamp') ~ ')',
        'invocation_id': dbt_cicd_toolkit._literal(invocation_id),
        'git_commit': dbt_cicd_toolkit._literal(dbt_cicd_toolkit._git_commit()),
        'kind': dbt_cicd_toolkit._literal(kind),
    } %}
    {% set own = {} %}
    {% set values = [] %}
    {% for column, type in columns.items() %}
        {% if column in shared %}
            {% do values.append(shared[column] ~ ' as ' ~ column) %}
        {% else %}
            {% do own.update({column: 'text' if type == 'key' else type}) %}
            {% do values.append(resolve.get(column, 'r.' ~ column) ~ ' as ' ~ column) %}
        {% endif %}
    {% endfor %}
    {% set given = [] %}
    {% for row in rows %}
        {% do given.append(dbt_cicd_toolkit._merged([{'id': dbt_cicd_toolkit._uuid(table ~ loop.index)}, row])) %}
    {% endfor %}
    {{ return('insert into ' ~ dbt_cicd_toolkit._table(table) ~ ' (' ~ columns.keys() | join(', ') ~ ') select ' ~ values | join(', ')
        ~ ' from ' ~ dbt_cicd_toolkit._rows(given, own) ~ ' as r on conflict do nothing; ') }}
{% endmacro %}

{# Runs appends as one transaction in one call: the only form that is atomic on every engine and database. #}
{% macro _commit(statements) %}
    {% do run_query('begin; ' ~ statements | join('') ~ 'commit;') %}
{% endmacro %}

{# SQL: who does this. current_user is of PostgreSQL's type name, which would cut the text beside it to 63 bytes. #}
{% macro _recorded_by() %}
    {{ return('coalesce(' ~ dbt_cicd_toolkit._literal(dbt_cicd_toolkit._actor()) ~ ', cast(current_user as ' ~ dbt_cicd_toolkit._type('text') ~ '))') }}
{% endmacro %}
