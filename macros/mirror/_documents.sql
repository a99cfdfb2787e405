{# The mirror's documents for models and environments: [{path below target/, text}], made by the warehouse, so that a thousand
   of them take one query, look the same on every engine, and are the same again after `dbt clean`. #}
{% macro _documents(unique_ids, environments) %}
    {% set documents = [] %}
    {% if unique_ids %}
        {% for row in dbt_cicd_toolkit._read(dbt_cicd_toolkit._version_documents_sql(unique_ids)) %}
            {% do documents.append({'path': 'versions/' ~ dbt_cicd_toolkit._display_name(row.unique_id) ~ '.json', 'text': row.document}) %}
        {% endfor %}
    {% endif %}
    {% if environments %}
        {% for row in dbt_cicd_toolkit._read(dbt_cicd_toolkit._promotion_documents_sql(environments)) %}
            {% do documents.append({'path': 'promotion_states/' ~ row.environment ~ '.json', 'text': row.document}) %}
        {% endfor %}
    {% endif %}
    {{ return(documents) }}
{% endmacro %}

{# SQL: {unique_id, document}: `{"model", "versions": […], …}`, highest version first. The keys of version_management's
   printed file come first and are never renamed; more keys stand behind them. #}
{% macro _version_documents_sql(unique_ids) %}
    {% set text = dbt_cicd_toolkit._json_string %}
    {% set time = dbt_cicd_toolkit._timestamp_text %}
    {% set models = [] %}
    {% for unique_id in unique_ids %}
        {% do models.append({'unique_id': unique_id, 'name': dbt_cicd_toolkit._display_name(unique_id), 'in_project': unique_id in graph.nodes}) %}
    {% endfor %}
    {{ return("with models as (
        select * from " ~ dbt_cicd_toolkit._rows(models, {'unique_id': 'text', 'name': 'text', 'in_project': 'boolean'}) ~ " as r),
    deployed as (
        select d.* from " ~ dbt_cicd_toolkit._table('dbt_cicd_deployments') ~ " d join models m on m.unique_id = d.unique_id where d.kind = 'model'),
    environments as (
        select unique_id, version, string_agg(" ~ text('environment') ~ ", ', ' order by first_at, environment) as list
        from (select unique_id, version, environment, min(recorded_at) as first_at from deployed
            where status = 'success' group by unique_id, version, environment) as first_times
        group by unique_id, version),
    deployments as (
        select unique_id, version, max(case when status = 'success' then recorded_at end) as last_at, string_agg(
            '        {\n          \"environment\": ' || " ~ text('environment') ~ " || ',\n          \"timestamp\": \"' || " ~ time('recorded_at') ~ "
            || '\",\n          \"status\": ' || " ~ text('status') ~ " || ',\n          \"deployed_by\": ' || " ~ text('recorded_by') ~ "
            || ',\n          \"promotion_id\": ' || " ~ text('promotion_id') ~ " || '\n        }', ',\n' order by recorded_at, id) as list
        from deployed group by unique_id, version),
    versions as (
        select v.unique_id, string_agg(
            '    {\n      \"version\": ' || " ~ text('v.version') ~ " || ',\n      \"timestamp\": \"' || " ~ time('v.recorded_at') ~ "
            || '\",\n      \"description\": ' || " ~ text('v.description') ~ " || ',\n      \"is_breaking\": ' || case when v.is_breaking then 'true' else 'false' end
            || ',\n      \"status\": \"' || case when d.last_at is null then 'registered' else 'deployed' end
            || '\",\n      \"last_deployed\": ' || coalesce('\"' || " ~ time('d.last_at') ~ " || '\"', 'null')
            || ',\n      \"environments\": [' || coalesce(e.list, '') || '],\n      \"deployments\": [' || coalesce('\n' || d.list || '\n      ', '')
            || '],\n      \"checksum\": ' || " ~ text('v.checksum') ~ " || ',\n      \"findings\": ' || coalesce(v.findings, '[]')
            || ',\n      \"registered_by\": ' || " ~ text('v.recorded_by') ~ " || ',\n      \"git_commit\": ' || " ~ text('v.git_commit') ~ " || '\n    }',
            ',\n' order by v.precedence_key desc, v.version desc) as list
        from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " v join models m on m.unique_id = v.unique_id
        left join deployments d on d.unique_id = v.unique_id and d.version = v.version
        left join environments e on e.unique_id = v.unique_id and e.version = v.version
        where v.kind = 'model' group by v.unique_id)
    select m.unique_id, '{\n  \"model\": ' || " ~ text('m.name') ~ " || ',\n  \"versions\": [' || coalesce('\n' || v.list || '\n  ', '')
        || '],\n  \"unique_id\": ' || " ~ text('m.unique_id') ~ " || ',\n  \"in_project\": ' || case when m.in_project then 'true' else 'false' end
        || ',\n  \"as_of\": ' || " ~ text('a.as_of') ~ " || '\n}' as document
    from models m left join versions v on v.unique_id = m.unique_id
    left join (" ~ dbt_cicd_toolkit._models_as_of_sql('models') ~ ") a on a.unique_id = m.unique_id
    order by m.unique_id") }}
{% endmacro %}

{# SQL: {unique_id, as_of}: when the ledger last learned something that stands in the model's document. #}
{% macro _models_as_of_sql(models) %}
    {% set newest = "(select max(n.recorded_at) from {} n where n.kind = 'model' and n.unique_id = o.unique_id)" %}
    {{ return("select unique_id, " ~ dbt_cicd_toolkit._timestamp_text('case when deployed_at is null or deployed_at < registered_at then registered_at else deployed_at end', exact=true) ~ " as as_of
        from (select o.unique_id, " ~ newest | replace('{}', dbt_cicd_toolkit._table('dbt_cicd_versions')) ~ " as registered_at, "
            ~ newest | replace('{}', dbt_cicd_toolkit._table('dbt_cicd_deployments')) ~ " as deployed_at from " ~ models ~ " as o) as times") }}
{% endmacro %}

{# SQL: {environment, document}: `{"environment", "promotions": […]}`, newest first, the last 10. #}
{% macro _promotion_documents_sql(environments) %}
    {% set text = dbt_cicd_toolkit._json_string %}
    {{ return("with environments as (select * from " ~ dbt_cicd_toolkit._rows(dbt_cicd_toolkit._as_rows('environment', environments), {'environment': 'text'}) ~ " as r),
    newest as (
        select e.environment, p.* from environments e join lateral (
            select p.id, p.status, p.models, p.versions, p.reasons, p.warnings, p.description, p.approved_by, p.recorded_by, p.recorded_at, p.git_commit
            from " ~ dbt_cicd_toolkit._table('dbt_cicd_promotions') ~ " p
            where p.kind = 'model' and p.environment = e.environment order by p.recorded_at desc, p.id desc limit 10) p on true),
    lists as (
        select environment, max(recorded_at) as as_of, string_agg(
            '    {\n      \"promotion_id\": ' || " ~ text('id') ~ " || ',\n      \"target_environment\": ' || " ~ text('environment') ~ "
            || ',\n      \"models\": ' || models || ',\n      \"versions\": ' || versions || ',\n      \"timestamp\": \"' || " ~ dbt_cicd_toolkit._timestamp_text('recorded_at') ~ "
            || '\",\n      \"status\": ' || " ~ text('status') ~ " || ',\n      \"success\": ' || case when status = 'success' then 'true' else 'false' end
            || ',\n      \"reasons\": ' || reasons || ',\n      \"warnings\": ' || coalesce(warnings, '[]') || ',\n      \"description\": ' || " ~ text('description') ~ "
            || ',\n      \"approved_by\": ' || " ~ text('approved_by') ~ " || ',\n      \"promoted_by\": ' || " ~ text('recorded_by') ~ "
            || ',\n      \"git_commit\": ' || " ~ text('git_commit') ~ " || '\n    }', ',\n' order by recorded_at desc, id desc) as list
        from newest group by environment)
    select e.environment, '{\n  \"environment\": ' || " ~ text('e.environment') ~ " || ',\n  \"promotions\": [' || coalesce('\n' || l.list || '\n  ', '')
        || '],\n  \"as_of\": ' || " ~ text(dbt_cicd_toolkit._timestamp_text('l.as_of', exact=true)) ~ " || '\n}' as document
    from environments e left join lists l on l.environment = e.environment order by e.environment") }}
{% endmacro %}
