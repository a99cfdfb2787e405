{# One row of the ledger for a version of a model of the project. In: the parsed version; what was declared; `before`
   {version, columns, definition} of the version it follows, or none; the known columns.
   Out: {row, findings: {level, changes}, contradictions: [text]}. #}
{% macro _prepare_version(unique_id, parsed, description, is_breaking, before, columns) %}
    {% set node = graph.nodes[unique_id] %}
    {% set definition = dbt_cicd_toolkit._definition(node) %}
    {% set findings = {'level': 'patch', 'changes': []} %}
    {% set contradictions = [] %}
    {% if before and dbt_cicd_toolkit._config('breaking_policy') != 'off' %}
        {% set findings = dbt_cicd_toolkit._findings(before, {'columns': columns, 'definition': definition}) %}
        {% set old = dbt_cicd_toolkit._semver_parse(before.version) %}
        {% set level = 'major' if is_breaking else findings.level %}
        {% if findings.level == 'major' and not is_breaking %}
            {% do contradictions.append('is_breaking is false, but ' ~ dbt_cicd_toolkit._changes_text(findings, 'major') ~ ' since ' ~ before.version) %}
        {% endif %}
        {% if not dbt_cicd_toolkit._step_suffices(level, old, parsed) %}
            {% do contradictions.append(before.version ~ ' to ' ~ parsed.version ~ ' is too small a step for a ' ~ level ~ ' change'
                ~ ('' if level == 'major' and findings.level != 'major' else ' (' ~ dbt_cicd_toolkit._changes_text(findings, level) ~ ')')
                ~ '; the next would be ' ~ dbt_cicd_toolkit._semver_bump(old, dbt_cicd_toolkit._automatic_part(level, old))) %}
        {% endif %}
    {% endif %}
    {{ return({
        'findings': findings,
        'contradictions': contradictions,
        'row': {
            'unique_id': unique_id,
            'name': dbt_cicd_toolkit._display_name(unique_id),
            'version': parsed.version,
            'precedence_key': dbt_cicd_toolkit._semver_key(parsed),
            'is_prerelease': parsed.pre | length > 0,
            'description': description,
            'is_breaking': is_breaking or findings.level == 'major',
            'findings': tojson(findings.changes),
            'checksum': dbt_cicd_toolkit._checksum(node),
            'columns': tojson(columns),
            'columns_known': columns.source != 'unknown',
            'definition': tojson(definition),
        },
    }) }}
{% endmacro %}

{% macro _changes_text(findings, level) %}
    {{ return(findings.changes | selectattr('level', 'equalto', level) | map(attribute='change') | join(', ')) }}
{% endmacro %}

{# The policy for contradictions, and the word on unknown columns. Out: [warning]. #}
{% macro _apply_breaking_policy(where, prepared) %}
    {% set refused = [] %}
    {% set warnings = [] %}
    {% for item in prepared %}
        {% if item.contradictions and dbt_cicd_toolkit._config('breaking_policy') == 'refuse' %}
            {% do refused.append(item.row.name ~ ' ' ~ item.row.version ~ ': ' ~ item.contradictions | join('; ')) %}
        {% elif item.contradictions %}
            {% do warnings.append(item.row.name ~ ' ' ~ item.row.version ~ ': ' ~ item.contradictions | join('; ')
                ~ ('. Recorded as breaking.' if item.row.is_breaking else '. Recorded as given.')) %}
        {% endif %}
        {% if item.findings.level == 'unknown' or 'unknown' in item.findings.changes | map(attribute='level') | list %}
            {% do warnings.append(item.row.name ~ ' ' ~ item.row.version ~ ': ' ~ dbt_cicd_toolkit._changes_text(item.findings, 'unknown')
                ~ ', so breaking changes of columns could not be looked for. Build the model in this target first, or enforce a contract.') %}
        {% endif %}
    {% endfor %}
    {% if refused %}
        {% do dbt_cicd_toolkit._refused(where, refused | join('. ') ~ '. Give a larger version, or is_breaking: true; the variable dbt_cicd_toolkit_breaking_policy (warn, refuse, off) decides.') %}
    {% endif %}
    {{ return(warnings) }}
{% endmacro %}
