{# What is there of the ledger, and what this user may do with it: one catalog query, which writes nothing and cannot fail.
   Out: {tables: {name: [column]}, missing: [text], has_schema, readable, insertable, creatable}. #}
{% macro _ledger_state() %}
    {% set found = dbt_cicd_toolkit._read(dbt_cicd_toolkit._ledger_catalog_sql(dbt_cicd_toolkit._config('ledger_schema'))) %}
    {% set tables = {} %}
    {% set allowed = namespace(select=true, insert=true, create=true, schema=false) %}
    {% for row in found %}
        {% if row.table_name %}
            {% do tables.update({row.table_name: row.columns.split(',')}) %}
            {% set allowed.select = allowed.select and row.may_select %}
            {% set allowed.insert = allowed.insert and row.may_insert %}
        {% endif %}
        {% set allowed.create = allowed.create and row.may_create %}
        {% set allowed.schema = allowed.schema or row.get('has_schema', false) %}
    {% endfor %}
    {% set missing = [] %}
    {% for table, columns in dbt_cicd_toolkit._ledger_tables().items() %}
        {% if table not in tables %}
            {% do missing.append(table) %}
        {% else %}
            {% for column in columns if column not in tables[table] %}
                {% do missing.append(table ~ '.' ~ column) %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {{ return({'tables': tables, 'missing': missing, 'has_schema': allowed.schema, 'readable': allowed.select, 'insertable': allowed.insert, 'creatable': allowed.create}) }}
{% endmacro %}

{# SQL giving one row per ledger table: table_name, columns (comma-separated), may_select, may_insert, may_create. #}
{% macro _ledger_catalog_sql(schema) %}
    {{ return(adapter.dispatch('_ledger_catalog_sql', 'dbt_cicd_toolkit')(schema)) }}
{% endmacro %}

{% macro default___ledger_catalog_sql(schema) %}
    {% set list = dbt.listagg('column_name', "','") if target.type != 'duckdb' else "string_agg(column_name, ',')" %}
    {{ return("select lower(table_name) as table_name, " ~ list ~ " as columns, true as may_select, true as may_insert, true as may_create
        from information_schema.columns
        where table_schema = " ~ dbt_cicd_toolkit._literal(schema) ~ " and table_catalog = " ~ dbt_cicd_toolkit._literal(target.database) ~ "
        and lower(table_name) like 'dbt_cicd_%' group by table_name") }}
{% endmacro %}

{# pg_catalog, not information_schema: that one hides what the user has no rights on, and a hidden ledger looks like none. A standby, or a
   role that is read-only by its settings, may have every right and yet not write.
   One row even when there is no table, for may_create. #}
{% macro postgres___ledger_catalog_sql(schema) %}
    {% set name = dbt_cicd_toolkit._literal(schema) %}
    {% set writable = "current_setting('transaction_read_only') = 'off'" %}
    {{ return("select c.relname as table_name, string_agg(a.attname, ',') as columns,
            bool_and(has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'SELECT')) as may_select,
            bool_and(has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, 'INSERT')) and " ~ writable ~ " as may_insert,
            n.oid is not null as has_schema,
            " ~ writable ~ " and case when n.oid is null then has_database_privilege(current_database(), 'CREATE')
                 else has_schema_privilege(n.oid, 'CREATE') and coalesce(bool_and(pg_has_role(c.relowner, 'USAGE')), true) end as may_create
        from (select 1) as one
        left join pg_catalog.pg_namespace n on n.nspname = " ~ name ~ "
        left join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p') and c.relname in ('" ~ dbt_cicd_toolkit._ledger_tables().keys() | join("', '") ~ "')
        left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        group by n.oid, c.oid, c.relname") }}
{% endmacro %}

{# For readers. Out: true when there is a ledger to read; false when there is none yet. Raises when it is there and cannot be read. #}
{% macro _open_for_read(where) %}
    {% set state = dbt_cicd_toolkit._ledger_state() %}
    {% if not state.tables %}
        {{ return(false) }}
    {% endif %}
    {% if not state.readable %}
        {% do dbt_cicd_toolkit._refused(where, dbt_cicd_toolkit._no_rights('read')) %}
    {% endif %}
    {% do dbt_cicd_toolkit._check_major(where, state) %}
    {% if state.missing %}
        {% do dbt_cicd_toolkit._refused(where, "the ledger is of an older release and lacks " ~ state.missing | join(', ')
            ~ ". Its owner upgrades it in place with `dbt run-operation setup_ledger`.") %}
    {% endif %}
    {{ return(true) }}
{% endmacro %}

{# For writers: a ledger of this release, and the lock, held until _unlock() or the end of the operation.
   Out: the server's time (text, to the microsecond), the recorded_at of all that the operation writes. #}
{% macro _open_for_write(where) %}
    {% set state = dbt_cicd_toolkit._ledger_state() %}
    {% do dbt_cicd_toolkit._check_major(where, state) %}
    {% if state.missing %}
        {% do dbt_cicd_toolkit._create_ledger(where, state) %}
        {# Another user may have made it meanwhile, and granted nothing. #}
        {% set state = dbt_cicd_toolkit._ledger_state() %}
    {% endif %}
    {% if not (state.readable and state.insertable) %}
        {% do dbt_cicd_toolkit._refused(where, dbt_cicd_toolkit._no_rights('write')) %}
    {% endif %}
    {% do dbt_cicd_toolkit._lock(where) %}
    {{ return(dbt_cicd_toolkit._read('select ' ~ dbt_cicd_toolkit._timestamp_text(dbt_cicd_toolkit._now(), exact=true) ~ ' as now')[0].now) }}
{% endmacro %}

{% macro _no_rights(what) %}
    {{ return("the database user '" ~ (target.user or 'unknown') ~ "' may not " ~ what ~ " the ledger in schema '" ~ dbt_cicd_toolkit._config('ledger_schema')
        ~ "'. It needs USAGE on the schema and SELECT, INSERT on its tables. The ledger's owner grants them with `dbt run-operation setup_ledger --args '{grant_to: [\""
        ~ (target.user or 'user') ~ "\"]}'`.") }}
{% endmacro %}

{# A ledger that a newer major wrote is not touched: its rows mean something this release does not know. Out: what to say, or none. #}
{% macro _major_problem(state) %}
    {% if 'dbt_cicd_ledger' in state.tables and state.readable %}
        {% set row = dbt_cicd_toolkit._read('select max(major) as major, max(package_version) as package_version from ' ~ dbt_cicd_toolkit._table('dbt_cicd_ledger'))[0] %}
        {% if row.major is not none and row.major | int > dbt_cicd_toolkit._ledger_major() %}
            {{ return("the ledger has major version " ~ row.major ~ ", written by dbt_cicd_toolkit " ~ row.package_version
                ~ "; this release knows major version " ~ dbt_cicd_toolkit._ledger_major() ~ ". Upgrade the package in packages.yml and run `dbt deps`.") }}
        {% endif %}
    {% endif %}
    {{ return(none) }}
{% endmacro %}

{% macro _check_major(where, state) %}
    {% set problem = dbt_cicd_toolkit._major_problem(state) %}
    {% if problem %}
        {% do dbt_cicd_toolkit._refused(where, problem) %}
    {% endif %}
{% endmacro %}
