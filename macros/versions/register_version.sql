{# Registers a version of a model at the present code. Out: the version's entry, as in target/versions/<model>.json. #}
{% macro register_version(model_name, version, description=none, is_breaking=false) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% set where = 'register_version' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs, writes=true) %}
    {% set unique_id = dbt_cicd_toolkit._model(where, dbt_cicd_toolkit._model_index(), model_name) %}
    {% set parsed = dbt_cicd_toolkit._semver(where, version) %}
    {% set description = dbt_cicd_toolkit._text_argument(where, 'description', description) %}
    {% set is_breaking = dbt_cicd_toolkit._boolean_argument(where, 'is_breaking', is_breaking) %}
    {% set now = dbt_cicd_toolkit._open_for_write(where) %}
    {% set checksum = dbt_cicd_toolkit._checksum(graph.nodes[unique_id]) %}
    {% set found = dbt_cicd_toolkit._read_for_register([{'unique_id': unique_id, 'version': parsed.version,
        'precedence_key': dbt_cicd_toolkit._semver_key(parsed), 'is_prerelease': parsed.pre | length > 0}])[unique_id] %}
    {% set warnings = [] %}
    {% if not found.entry_version %}
        {% set before = dbt_cicd_toolkit._version_before(found.below_version, found.below_columns, found.below_definition, found.below_columns_version) if found.below_version else none %}
        {% set prepared = dbt_cicd_toolkit._prepare_version(unique_id, parsed, description, is_breaking, before, dbt_cicd_toolkit._known_columns([unique_id])[unique_id]) %}
        {% do warnings.extend(dbt_cicd_toolkit._apply_breaking_policy(where, [prepared])) %}
        {% do dbt_cicd_toolkit._commit([dbt_cicd_toolkit._append_sql('dbt_cicd_versions', [prepared.row], now)]) %}
    {% endif %}
    {% set documents = dbt_cicd_toolkit._documents([unique_id], []) %}
    {% set entry = dbt_cicd_toolkit._entry_of(documents[0].text, parsed.version) %}
    {% if entry.checksum != checksum %}
        {% do dbt_cicd_toolkit._differs(where, "version " ~ parsed.version ~ " of " ~ dbt_cicd_toolkit._display_name(unique_id) ~ " was registered at "
            ~ entry.timestamp ~ " with other code, and a registered version never changes. Register the present code as a higher version, for example "
            ~ dbt_cicd_toolkit._semver_bump(parsed, 'patch') ~ ".") %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._finish(where, {'value': entry, 'documents': documents, 'warnings': warnings})) }}
{% endmacro %}

{# The entry of a version in a version document; none when it is not there. #}
{% macro _entry_of(document, version) %}
    {% for entry in fromjson(document).versions if entry.version == version %}
        {{ return(entry) }}
    {% endfor %}
    {{ return(none) }}
{% endmacro %}
