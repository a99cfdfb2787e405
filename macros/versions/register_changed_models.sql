{# Registers the next version of every model (or of those named) whose code is not that of its latest version, all of them or none.
   In: bump auto (by what changed for readers) | patch | minor | major.
   Out: {registered: [{model, unique_id, version, from_version, is_breaking, findings}], unchanged: [model], dry_run}. #}
{% macro register_changed_models(bump='auto', description=none, models=none, dry_run=false) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set where = 'register_changed_models' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs, writes=true) %}
    {% if bump not in ['auto', 'patch', 'minor', 'major'] %}
        {% do dbt_cicd_toolkit._invalid(where, "bump is '" ~ bump ~ "'. Allowed: auto, patch, minor, major.") %}
    {% endif %}
    {% set description = dbt_cicd_toolkit._text_argument(where, 'description', description) %}
    {% set dry_run = dbt_cicd_toolkit._boolean_argument(where, 'dry_run', dry_run) %}
    {% set unique_ids = dbt_cicd_toolkit._named_models(where, models) %}
    {% if dry_run %}
        {% set now = none %}
        {% set latest = dbt_cicd_toolkit._read_latest(unique_ids) if dbt_cicd_toolkit._open_for_read(where) else {} %}
    {% else %}
        {% set now = dbt_cicd_toolkit._open_for_write(where) %}
        {% set latest = dbt_cicd_toolkit._read_latest(unique_ids) %}
    {% endif %}
    {% set changed = [] %}
    {% set unchanged = [] %}
    {% for unique_id in unique_ids %}
        {% if unique_id in latest and latest[unique_id].checksum == dbt_cicd_toolkit._checksum(graph.nodes[unique_id]) %}
            {% do unchanged.append(dbt_cicd_toolkit._display_name(unique_id)) %}
        {% else %}
            {% do changed.append(unique_id) %}
        {% endif %}
    {% endfor %}
    {% set prepared = dbt_cicd_toolkit._prepare_changed(where, changed, latest, bump, description, dry_run and not latest) %}
    {% set warnings = dbt_cicd_toolkit._apply_breaking_policy(where, prepared) %}
    {% if prepared and not dry_run %}
        {% do dbt_cicd_toolkit._commit([dbt_cicd_toolkit._append_sql('dbt_cicd_versions', prepared | map(attribute='row') | list, now)]) %}
    {% endif %}
    {% set registered = [] %}
    {% for item in prepared %}
        {% do registered.append({'model': item.row.name, 'unique_id': item.row.unique_id, 'version': item.row.version,
            'from_version': latest[item.row.unique_id].version if item.row.unique_id in latest else none,
            'is_breaking': item.row.is_breaking, 'findings': item.findings.changes}) %}
    {% endfor %}
    {% set value = {'registered': registered, 'unchanged': unchanged | sort, 'dry_run': dry_run} %}
    {% if dry_run %}
        {{ return(dbt_cicd_toolkit._emit(where, value, warnings)) }}
    {% endif %}
    {{ return(dbt_cicd_toolkit._finish(where, {'value': value, 'touched': {'models': changed}, 'warnings': warnings})) }}
{% endmacro %}

{# The unique_ids of the models named, or of all models of the project. #}
{% macro _named_models(where, models) %}
    {% set index = dbt_cicd_toolkit._model_index() %}
    {% set unique_ids = [] %}
    {% if models is none %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' %}
            {% do unique_ids.append(node.unique_id) %}
        {% endfor %}
    {% else %}
        {% for name in dbt_cicd_toolkit._names_argument(where, 'models', models) %}
            {% do unique_ids.append(dbt_cicd_toolkit._model(where, index, name)) %}
        {% endfor %}
    {% endif %}
    {{ return(unique_ids | unique | sort | list) }}
{% endmacro %}

{# The next version of each changed model, refused as a whole where 'auto' cannot tell how large the step is. #}
{% macro _prepare_changed(where, changed, latest, bump, description, without_ledger) %}
    {% set prepared = [] %}
    {% set unknown = [] %}
    {% set columns = {} if without_ledger else dbt_cicd_toolkit._known_columns(changed) %}
    {% set first = dbt_cicd_toolkit._semver(where, dbt_cicd_toolkit._config('first_version'), 'dbt_cicd_toolkit_first_version') %}
    {% for unique_id in changed %}
        {% set own = columns.get(unique_id, {'source': 'unknown', 'items': [], 'why': 'there is no ledger yet'}) %}
        {% if unique_id not in latest %}
            {% do prepared.append(dbt_cicd_toolkit._prepare_version(unique_id, first, description, false, none, own)) %}
        {% else %}
            {% set row = latest[unique_id] %}
            {% set before = dbt_cicd_toolkit._version_before(row.version, row.columns, row.definition, row.columns_version) %}
            {% set old = dbt_cicd_toolkit._semver_parse(row.version) %}
            {% set findings = dbt_cicd_toolkit._findings(before, {'columns': own, 'definition': dbt_cicd_toolkit._definition(graph.nodes[unique_id])}) %}
            {% set part = dbt_cicd_toolkit._automatic_part(findings.level, old) if bump == 'auto' else bump %}
            {% if part is none or not part %}
                {% do unknown.append(dbt_cicd_toolkit._display_name(unique_id) ~ ' (' ~ dbt_cicd_toolkit._changes_text(findings, 'unknown') ~ ')') %}
            {% else %}
                {% set parsed = dbt_cicd_toolkit._semver_parse(dbt_cicd_toolkit._semver_bump(old, part)) %}
                {% do prepared.append(dbt_cicd_toolkit._prepare_version(unique_id, parsed, description, bump == 'auto' and findings.level == 'major', before, own)) %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {% if unknown %}
        {% do dbt_cicd_toolkit._refused(where, 'how large a step these models took cannot be told: ' ~ unknown | join('; ')
            ~ '. Build them in this target first (`dbt build --select …`), enforce a contract, or give bump: patch, minor or major.') %}
    {% endif %}
    {{ return(prepared) }}
{% endmacro %}
