{# The plan of putting models into an environment, with every gate applied. Reads only.
   In: requests [{name as the user wrote it, unique_id or none, problem or none, version or none}]; a version pins the request (deploy_version),
   else it is the highest registered one of the present code. options {require_tests, approved_by, failures, now}.
   Out: [{model, unique_id, version, from_version, action: promote | unchanged | refused, checksum, evidence, reasons: [text], warnings: [text]}]. #}
{% macro _plan(where, environment, requests, options) %}
    {% set settings = dbt_cicd_toolkit._environment(where, environment) %}
    {% set known = [] %}
    {% for request in requests if request.unique_id %}
        {% set node = graph.nodes.get(request.unique_id) %}
        {% do known.append({'unique_id': request.unique_id, 'version': request.version, 'environment': environment, 'source': settings.promote_from,
            'checksum': dbt_cicd_toolkit._checksum(node) if node else none}) %}
    {% endfor %}
    {% set facts = dbt_cicd_toolkit._read_for_promotion(known) if known and options.ledger else {} %}
    {% set checksums = dbt_cicd_toolkit._by_id(known) %}
    {% set items = [] %}
    {% for request in requests %}
        {% set fact = facts.get(request.unique_id, {}) %}
        {% set pinned = request.version is not none %}
        {% set present = checksums[request.unique_id].checksum if request.unique_id else none %}
        {% set item = {'model': dbt_cicd_toolkit._display_name(request.unique_id) if request.unique_id else request.name, 'unique_id': request.unique_id,
            'version': request.version if pinned else fact.get('version'), 'from_version': fact.get('from_version'),
            'checksum': fact.get('checksum') if pinned else present, 'project_checksum': present, 'reasons': [], 'warnings': []} %}
        {% if request.problem %}
            {% do item.reasons.append(request.problem) %}
        {% else %}
            {% do item.update({'action': 'unchanged' if fact.since and fact.from_checksum == item.checksum and fact.from_version == item.version else 'promote'}) %}
            {% do dbt_cicd_toolkit._gate_registered(item, fact, pinned) %}
            {% do dbt_cicd_toolkit._gate_source(item, fact, settings, options) %}
            {% do dbt_cicd_toolkit._gate_breaking(item, fact, environment, settings, options) %}
        {% endif %}
        {% do items.append(item) %}
    {% endfor %}
    {% do dbt_cicd_toolkit._gate_tests(items, environment, settings, options) %}
    {% do dbt_cicd_toolkit._warn_of_parents(items, environment, options) %}
    {% for item in items %}
        {% if item.reasons %}
            {% do item.update({'action': 'refused'}) %}
        {% endif %}
        {% do item.pop('project_checksum') %}
    {% endfor %}
    {{ return(items) }}
{% endmacro %}

{# What the ledger says of each request, of models or of another kind, one query. In: [{unique_id, version or none, checksum, environment, source or none}].
   Out: {unique_id: {version, checksum, is_breaking: of it or of any version between it and what is there; registered: has any version;
   from_version, from_checksum, since: of what is there; source_version, source_checksum, source_since; was_here, was_in_source}}. #}
{% macro _read_for_promotion(requests, kind='model') %}
    {% set versions = dbt_cicd_toolkit._table('dbt_cicd_versions') %}
    {% set deployments = dbt_cicd_toolkit._table('dbt_cicd_deployments') %}
    {% set there = "(select d.version, d.checksum, d.recorded_at from " ~ deployments ~ " d where d.kind = '" ~ kind ~ "' and d.unique_id = m.unique_id
        and d.environment = m.{} and d.status = 'success' order by d.recorded_at desc, d.id desc limit 1)" %}
    {% set ever = "exists (select 1 from " ~ deployments ~ " d where d.kind = '" ~ kind ~ "' and d.unique_id = m.unique_id and d.environment = m.{}
        and d.status = 'success' and d.version = v.version)" %}
    {% set rows = dbt_cicd_toolkit._read("
        select m.unique_id, v.version, v.checksum,
            exists (select 1 from " ~ versions ~ " a where a.kind = '" ~ kind ~ "' and a.unique_id = m.unique_id) as registered,
            h.version as from_version, h.checksum as from_checksum, " ~ dbt_cicd_toolkit._timestamp_text('h.recorded_at', exact=true) ~ " as since,
            s.version as source_version, s.checksum as source_checksum, " ~ dbt_cicd_toolkit._timestamp_text('s.recorded_at', exact=true) ~ " as source_since,
            " ~ ever | replace('{}', 'environment') ~ " as was_here,
            " ~ ever | replace('{}', 'source') ~ " as was_in_source,
            (v.is_breaking and (f.precedence_key is null or v.precedence_key >= f.precedence_key)) or exists (select 1 from " ~ versions ~ " b where b.kind = '" ~ kind ~ "' and b.unique_id = m.unique_id and b.is_breaking
                and b.precedence_key > least(v.precedence_key, f.precedence_key) and b.precedence_key <= greatest(v.precedence_key, f.precedence_key)
                and f.precedence_key is not null) as is_breaking
        from " ~ dbt_cicd_toolkit._rows(requests, {'unique_id': 'text', 'version': 'text', 'checksum': 'text', 'environment': 'text', 'source': 'text'}) ~ " as m
        left join lateral (select v.version, v.checksum, v.precedence_key, v.is_breaking from " ~ versions ~ " v
            where v.kind = '" ~ kind ~ "' and v.unique_id = m.unique_id
            and ((m.version is null and v.checksum = m.checksum) or v.version = m.version)
            order by v.precedence_key desc, v.version desc limit 1) v on true
        left join lateral " ~ there | replace('{}', 'environment') ~ " h on true
        left join lateral " ~ there | replace('{}', 'source') ~ " s on true
        left join " ~ versions ~ " f on f.kind = '" ~ kind ~ "' and f.unique_id = m.unique_id and f.version = h.version") %}
    {{ return(dbt_cicd_toolkit._by_id(rows)) }}
{% endmacro %}
