{# The questions asked of the ledger: one query each, however many models it is asked about. `lateral … limit 1` is one index
   probe per model on PostgreSQL, whatever the length of the histories. #}

{# Latest registered version per model: highest precedence, pre-releases only when there is nothing else.
   In: [unique_id]. Out: {unique_id: row}. #}
{% macro _read_latest(unique_ids) %}
    {% set rows = dbt_cicd_toolkit._read("
        select m.unique_id, v.version, v.checksum, v.is_breaking, coalesce(k.columns, v.columns) as columns, k.version as columns_version, v.definition
        from " ~ dbt_cicd_toolkit._ids(unique_ids) ~ " as m
        join lateral (select * from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " v
            where v.kind = 'model' and v.unique_id = m.unique_id
            order by v.is_prerelease, v.precedence_key desc, v.version desc limit 1) v on true
        left join lateral " ~ dbt_cicd_toolkit._known_below('<= v.precedence_key') ~ " k on true") %}
    {{ return(dbt_cicd_toolkit._by_id(rows)) }}
{% endmacro %}

{# What a new version is held against. In: [{unique_id, version, precedence_key, is_prerelease}]. Out: {unique_id: {entry: the row of
   that very version, below: the highest below it}}; a release is held against the highest release below it. #}
{% macro _read_for_register(wanted) %}
    {% set versions = dbt_cicd_toolkit._table('dbt_cicd_versions') %}
    {% set rows = dbt_cicd_toolkit._read("
        select m.unique_id, e.version as entry_version, e.checksum as entry_checksum,
            b.version as below_version, coalesce(k.columns, b.columns) as below_columns, k.version as below_columns_version, b.definition as below_definition
        from " ~ dbt_cicd_toolkit._rows(wanted, {'unique_id': 'text', 'version': 'text', 'precedence_key': 'text', 'is_prerelease': 'boolean'}) ~ " as m
        left join " ~ versions ~ " e on e.kind = 'model' and e.unique_id = m.unique_id and e.version = m.version
        left join lateral (select * from " ~ versions ~ " v
            where v.kind = 'model' and v.unique_id = m.unique_id and v.precedence_key < m.precedence_key
            order by case when m.is_prerelease then false else v.is_prerelease end, v.precedence_key desc, v.version desc limit 1) b on true
        left join lateral " ~ dbt_cicd_toolkit._known_below('<= b.precedence_key') ~ " k on true") %}
    {{ return(dbt_cicd_toolkit._by_id(rows)) }}
{% endmacro %}

{# SQL: the highest version up to a key whose columns are known. A version that was registered before it was built never learns its own, and must not
   hide what was there before it. #}
{% macro _known_below(condition) %}
    {{ return("(select o.version, o.columns from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " o where o.kind = 'model' and o.unique_id = m.unique_id
        and o.precedence_key " ~ condition ~ " and o.columns_known order by o.precedence_key desc, o.version desc limit 1)") }}
{% endmacro %}

{# SQL: the different values of a column of a table, of models or of another kind. A loose index scan on PostgreSQL: a `distinct` would read every row
   (https://wiki.postgresql.org/wiki/Loose_indexscan). #}
{% macro _distinct(table, column, kind='model') %}
    {{ return(adapter.dispatch('_distinct', 'dbt_cicd_toolkit')(dbt_cicd_toolkit._table(table), column, kind)) }}
{% endmacro %}

{% macro default___distinct(table, column, kind) %}
    {{ return("(select distinct " ~ column ~ " from " ~ table ~ " where kind = '" ~ kind ~ "')") }}
{% endmacro %}

{% macro postgres___distinct(table, column, kind) %}
    {{ return("(with recursive seen as (
            (select " ~ column ~ " from " ~ table ~ " where kind = '" ~ kind ~ "' order by " ~ column ~ " limit 1)
            union all select (select n." ~ column ~ " from " ~ table ~ " n where n.kind = '" ~ kind ~ "' and n." ~ column ~ " > seen." ~ column ~ " order by n." ~ column ~ " limit 1)
            from seen where seen." ~ column ~ " is not null)
        select " ~ column ~ " from seen where " ~ column ~ " is not null)") }}
{% endmacro %}

{# What each environment has of each model now, or of each job. In: [unique_id] or none for all that were ever deployed; [environment] or none; the kind.
   Out: [{unique_id, name, environment, version, checksum, since, recorded_by, promotion_id}]. #}
{% macro _read_deployed(unique_ids=none, environments=none, kind='model') %}
    {% set deployments = dbt_cicd_toolkit._table('dbt_cicd_deployments') %}
    {% set known = dbt_cicd_toolkit._distinct('dbt_cicd_deployments', 'environment', kind) if environments is none
        else dbt_cicd_toolkit._rows(dbt_cicd_toolkit._as_rows('environment', environments), {'environment': 'text'}) %}
    {% set models = dbt_cicd_toolkit._distinct('dbt_cicd_deployments', 'unique_id', kind) if unique_ids is none else dbt_cicd_toolkit._ids(unique_ids) %}
    {{ return(dbt_cicd_toolkit._read("
        select m.unique_id, e.environment, d.name, d.version, d.checksum, d.recorded_by, d.promotion_id, "
            ~ dbt_cicd_toolkit._timestamp_text('d.recorded_at', exact=true) ~ " as since
        from " ~ models ~ " as m cross join " ~ known ~ " as e
        join lateral (select * from " ~ deployments ~ " d
            where d.kind = '" ~ kind ~ "' and d.unique_id = m.unique_id and d.environment = e.environment and d.status = 'success'
            order by d.recorded_at desc, d.id desc limit 1) d on true
        order by e.environment, m.unique_id")) }}
{% endmacro %}

{# The newest successful build of each model in a target, in one relation or in any (relation none).
   In: [{unique_id, target, relation_name}]. Out: {unique_id: {checksum, flags, relation_name, built_at}}. #}
{% macro _read_builds(wanted) %}
    {% set rows = dbt_cicd_toolkit._read("
        select m.unique_id, b.checksum, b.flags, b.relation_name, " ~ dbt_cicd_toolkit._timestamp_text('b.recorded_at', exact=true) ~ " as built_at
        from " ~ dbt_cicd_toolkit._rows(wanted, {'unique_id': 'text', 'target': 'text', 'relation_name': 'text'}) ~ " as m
        join lateral (select * from " ~ dbt_cicd_toolkit._table('dbt_cicd_builds') ~ " b
            where b.unique_id = m.unique_id and b.target = m.target and (m.relation_name is null or b.relation_name = m.relation_name) and b.status = 'success'
            order by b.recorded_at desc, b.id desc limit 1) b on true") %}
    {{ return(dbt_cicd_toolkit._by_id(rows)) }}
{% endmacro %}

{# The unique_ids that the ledger knows under a name, or that are this unique_id. #}
{% macro _read_past_models(ledger, name) %}
    {% set text = dbt_cicd_toolkit._literal(name) %}
    {% set rows = dbt_cicd_toolkit._read("select distinct unique_id from (
            select unique_id, name from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " where kind = 'model'
            union all select unique_id, name from " ~ dbt_cicd_toolkit._table('dbt_cicd_deployments') ~ " where kind = 'model') as known
        where name = " ~ text ~ " or unique_id = " ~ text ~ " order by unique_id") %}
    {{ return(rows | map(attribute='unique_id') | list) }}
{% endmacro %}

{% macro _ids(unique_ids) %}
    {{ return(dbt_cicd_toolkit._rows(dbt_cicd_toolkit._as_rows('unique_id', unique_ids), {'unique_id': 'text'})) }}
{% endmacro %}

{% macro _as_rows(column, values) %}
    {% set rows = [] %}
    {% for value in values %}
        {% do rows.append({column: value}) %}
    {% endfor %}
    {{ return(rows) }}
{% endmacro %}

{% macro _by_id(rows) %}
    {% set found = {} %}
    {% for row in rows %}
        {% do found.update({row.unique_id: row}) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
