{# The two ends of `dbt-cicd ledger pull`: rows of one table as the ledger has them, and their import elsewhere. Both are started by the command line only. #}

{# One page of a table, in the order of (recorded_at, id). In: the end of the page before, or none. Out: {rows, next: {recorded_at, id} or none}. #}
{% macro _ledger_rows(table, after=none, limit=1000, since=none) %}
    {% if table not in dbt_cicd_toolkit._ledger_tables() or not dbt_cicd_toolkit._open_for_read('ledger_rows') %}
        {{ return(dbt_cicd_toolkit._emit('ledger_rows', {'rows': [], 'next': none})) }}
    {% endif %}
    {% set columns = [] %}
    {% for column, type in dbt_cicd_toolkit._ledger_tables()[table].items() %}
        {% do columns.append(dbt_cicd_toolkit._timestamp_text(column, exact=true) ~ ' as ' ~ column if type == 'timestamp' else column) %}
    {% endfor %}
    {% set conditions = ['1 = 1'] %}
    {% set stamp = 'cast({} as ' ~ dbt_cicd_toolkit._type('timestamp') ~ ')' %}
    {% if since %}
        {% do conditions.append('recorded_at >= ' ~ stamp | replace('{}', dbt_cicd_toolkit._literal(since))) %}
    {% endif %}
    {% if after %}
        {% do conditions.append('(recorded_at, id) > (' ~ stamp | replace('{}', dbt_cicd_toolkit._literal(after.recorded_at)) ~ ', ' ~ dbt_cicd_toolkit._literal(after.id) ~ ')') %}
    {% endif %}
    {% set rows = dbt_cicd_toolkit._read('select ' ~ columns | join(', ') ~ ' from ' ~ dbt_cicd_toolkit._table(table) ~ ' where ' ~ conditions | join(' and ')
        ~ ' order by ' ~ dbt_cicd_toolkit._table(table) ~ '.recorded_at, id limit ' ~ limit | int) %}
    {{ return(dbt_cicd_toolkit._emit('ledger_rows', {'rows': rows, 'next': {'recorded_at': rows[-1].recorded_at, 'id': rows[-1].id} if rows | length == limit | int else none})) }}
{% endmacro %}

{# Imports rows as _ledger_rows gave them; those that are there already stay as they are. In: {table: [row]}. Out: {inserted: {table: count}}, with
   dry_run what would be. A version that both ledgers registered with other code refuses the whole. #}
{% macro _import_ledger_rows(tables, dry_run=false) %}
    {% set where = 'ledger pull' %}
    {% if not dry_run %}
        {% do dbt_cicd_toolkit._open_for_write(where) %}
    {% elif not dbt_cicd_toolkit._open_for_read(where) %}
        {% set counts = {} %}
        {% for table, rows in tables.items() %}
            {% do counts.update({table: rows | length}) %}
        {% endfor %}
        {{ return(dbt_cicd_toolkit._emit('import_ledger_rows', {'inserted': counts})) }}
    {% endif %}
    {% set versions = tables.get('dbt_cicd_versions', []) %}
    {% if versions %}
        {% set clash = dbt_cicd_toolkit._read("select distinct v.name, v.version from " ~ dbt_cicd_toolkit._rows(versions, {'kind': 'text', 'unique_id': 'text', 'version': 'text', 'checksum': 'text'}) ~ " as r
            join " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " v on v.kind = r.kind and v.unique_id = r.unique_id and v.version = r.version and v.checksum <> r.checksum") %}
        {% if clash %}
            {% set names = [] %}
            {% for row in clash %}
                {% do names.append(row.name ~ ' ' ~ row.version) %}
            {% endfor %}
            {% do dbt_cicd_toolkit._differs(where, 'both ledgers registered ' ~ names | join(', ') ~ ', each with other code. Nothing was pulled. Register one of the two as a higher version.') %}
        {% endif %}
    {% endif %}
    {% set statements = [] %}
    {% set counts = [] %}
    {% for table, rows in tables.items() if rows and table in dbt_cicd_toolkit._ledger_tables() %}
        {% set types = {} %}
        {% for column, type in dbt_cicd_toolkit._ledger_tables()[table].items() %}
            {% do types.update({column: 'text' if type == 'key' else type}) %}
        {% endfor %}
        {% set names = types.keys() | join(', ') %}
        {% do counts.append("select " ~ dbt_cicd_toolkit._literal(table) ~ " as table_name, count(*) as n from " ~ dbt_cicd_toolkit._rows(rows, {'id': 'text'}) ~ " as r
            where not exists (select 1 from " ~ dbt_cicd_toolkit._table(table) ~ " t where t.id = r.id)") %}
        {% do statements.append('insert into ' ~ dbt_cicd_toolkit._table(table) ~ ' (' ~ names ~ ') select ' ~ names ~ ' from ' ~ dbt_cicd_toolkit._rows(rows, types) ~ ' as r on conflict do nothing; ') %}
    {% endfor %}
    {% set inserted = {} %}
    {% if statements %}
        {% for row in dbt_cicd_toolkit._read(counts | join(' union all ')) %}
            {% do inserted.update({row.table_name: row.n}) %}
        {% endfor %}
        {% if not dry_run %}
            {% do dbt_cicd_toolkit._commit(statements) %}
        {% endif %}
    {% endif %}
    {% if not dry_run %}
        {% do dbt_cicd_toolkit._unlock() %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit('import_ledger_rows', {'inserted': inserted})) }}
{% endmacro %}
