{# One writer at a time: what an operation read before it decided still holds when it writes. Held by the session, so it ends
   with the process that holds it, however that dies. Taken by polling: a waiting pg_advisory_lock() could neither give up nor
   say who it waits for. #}
{% macro _lock(where) %}
    {% if not dbt_cicd_toolkit._try_lock() %}
        {% do dbt_cicd_toolkit._refused(where, dbt_cicd_toolkit._locked()) %}
    {% endif %}
{% endmacro %}

{# Out: true when the lock is held; false when it was not free for dbt_cicd_toolkit_lock_timeout_seconds. #}
{% macro _try_lock() %}
    {{ return(adapter.dispatch('_try_lock', 'dbt_cicd_toolkit')()) }}
{% endmacro %}

{# Warehouses without a lock an operation can hold: a DuckDB file has one writing process at a time by itself; elsewhere the
   unique indexes decide. #}
{% macro default___try_lock() %}
    {{ return(true) }}
{% endmacro %}

{% macro postgres___try_lock() %}
    {% set state = namespace(held=false) %}
    {% for attempt in range((dbt_cicd_toolkit._config('lock_timeout_seconds') | float * 10) | int + 1) %}
        {# Not as the loop's own `if`: dbt v2 looks at that once, before the first round. #}
        {% if not state.held %}
            {% set wait = '' if attempt == 0 else 'select pg_sleep(0.1); ' %}
            {% set state.held = dbt_cicd_toolkit._read('select pg_try_advisory_lock(' ~ dbt_cicd_toolkit._lock_key() ~ ') as held', before=wait)[0].held %}
        {% endif %}
    {% endfor %}
    {{ return(state.held) }}
{% endmacro %}

{% macro _unlock() %}
    {% do adapter.dispatch('_unlock', 'dbt_cicd_toolkit')() %}
{% endmacro %}

{% macro default___unlock() %}{% endmacro %}

{% macro postgres___unlock() %}
    {% do run_query('select pg_advisory_unlock(' ~ dbt_cicd_toolkit._lock_key() ~ ')') %}
{% endmacro %}

{# What to say of a lock that another holds. #}
{% macro _locked() %}
    {{ return(adapter.dispatch('_locked', 'dbt_cicd_toolkit')()) }}
{% endmacro %}

{% macro default___locked() %}
    {{ return('the ledger is locked by another operation. Run it again when that has ended.') }}
{% endmacro %}

{% macro postgres___locked() %}
    {% set holder = dbt_cicd_toolkit._read("select a.pid, a.usename, coalesce(host(a.client_addr), 'a local socket') as host, to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') as since
        from pg_locks l join pg_stat_activity a on a.pid = l.pid
        where l.locktype = 'advisory' and l.granted and l.database = (select oid from pg_database where datname = current_database())
        and ((l.classid::bigint << 32) | l.objid::bigint) = " ~ dbt_cicd_toolkit._lock_key()) %}
    {{ return("the ledger was locked by another operation for " ~ dbt_cicd_toolkit._config('lock_timeout_seconds') ~ " s"
        ~ (" (user " ~ holder[0].usename ~ " from " ~ holder[0].host ~ ", process " ~ holder[0].pid ~ ", connected since " ~ holder[0].since ~ ")" if holder else "")
        ~ ". Run it again when that has ended; the variable dbt_cicd_toolkit_lock_timeout_seconds says how long to wait.") }}
{% endmacro %}

{# One lock per ledger schema; the leading part keeps it apart from other users of advisory locks. #}
{% macro _lock_key() %}
    {{ return("('x' || substr(md5(" ~ dbt_cicd_toolkit._literal('dbt_cicd_toolkit:' ~ dbt_cicd_toolkit._config('ledger_schema')) ~ "), 2, 15))::bit(60)::bigint") }}
{% endmacro %}
