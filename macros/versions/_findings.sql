{# What changed for the readers of a model, and how much of a step that is.
   In: the version before {columns, definition} and the present {columns, definition}, as the ledger keeps them.
   Out: {level: major | minor | patch | unknown, changes: [{level, change}]}. #}
{% macro _findings(before, present) %}
    {% set changes = dbt_cicd_toolkit._since(before, dbt_cicd_toolkit._column_changes(before.columns, present.columns)) + dbt_cicd_toolkit._definition_changes(before.definition, present.definition) %}
    {% set levels = changes | map(attribute='level') | list %}
    {% for level in ['major', 'unknown', 'minor'] %}
        {% if level in levels %}
            {{ return({'level': level, 'changes': changes}) }}
        {% endif %}
    {% endfor %}
    {{ return({'level': 'patch', 'changes': changes}) }}
{% endmacro %}

{# A registered version as _findings() takes it. What an older release of this package did not record is unknown. `columns_version`: of which
   version the columns are, when its own are unknown. #}
{% macro _version_before(version, columns, definition, columns_version=none) %}
    {{ return({
        'version': version,
        'columns_version': columns_version or version,
        'columns': fromjson(columns) if columns else {'source': 'unknown', 'items': [], 'why': 'an older release did not record them'},
        'definition': fromjson(definition) if definition else none,
    }) }}
{% endmacro %}

{# Says of which version the columns were, where that is not the version before. #}
{% macro _since(before, changes) %}
    {% if before.columns_version != before.version %}
        {% for change in changes %}
            {% do change.update({'change': change.change ~ ' since ' ~ before.columns_version}) %}
        {% endfor %}
    {% endif %}
    {{ return(changes) }}
{% endmacro %}

{% macro _column_changes(before, present) %}
    {% for side, columns in [['the version before', before], ['the present code', present]] %}
        {% if columns.source == 'unknown' %}
            {{ return([{'level': 'unknown', 'change': 'the columns of ' ~ side ~ ' are unknown: ' ~ columns.why}]) }}
        {% endif %}
    {% endfor %}
    {% set old = {} %}
    {% set new = {} %}
    {% for columns, types in [[before, old], [present, new]] %}
        {% for column in columns['items'] %}
            {% do types.update({column.name | lower: column.type}) %}
        {% endfor %}
    {% endfor %}
    {% set changes = [] %}
    {% for name, type in old.items() %}
        {% if name not in new %}
            {% do changes.append({'level': 'major', 'change': 'column ' ~ name ~ ' was removed or renamed'}) %}
        {% else %}
            {% set verdict = dbt_cicd_toolkit._compare_types(type, new[name]) %}
            {% if verdict != 'same' %}
                {% do changes.append({'level': 'minor' if verdict == 'widened' else 'major',
                    'change': 'type of column ' ~ name ~ ' was ' ~ ('widened' if verdict == 'widened' else 'narrowed or changed') ~ ' from ' ~ type ~ ' to ' ~ new[name]}) %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {% for name, type in new.items() if name not in old %}
        {% do changes.append({'level': 'minor', 'change': 'column ' ~ name ~ ' ' ~ type ~ ' was added'}) %}
    {% endfor %}
    {{ return(changes) }}
{% endmacro %}

{% macro _definition_changes(old, new) %}
    {% if old is none %}
        {{ return([{'level': 'unknown', 'change': 'the contract, access and materialization of the version before are unknown: an older release did not record them'}]) }}
    {% endif %}
    {% set changes = [] %}
    {% if old.contract != new.contract %}
        {% do changes.append({'level': 'minor' if new.contract else 'major', 'change': 'the contract is ' ~ ('now' if new.contract else 'no longer') ~ ' enforced'}) %}
    {% endif %}
    {% set ranks = {'private': 0, 'protected': 1, 'public': 2} %}
    {% if old.access != new.access %}
        {% do changes.append({'level': 'minor' if ranks.get(new.access, 0) > ranks.get(old.access, 0) else 'major',
            'change': 'access changed from ' ~ old.access ~ ' to ' ~ new.access}) %}
    {% endif %}
    {% if old.relation != new.relation %}
        {% do changes.append({'level': 'major', 'change': 'the relation moved from ' ~ old.relation.lstrip('.') ~ ' to ' ~ new.relation.lstrip('.')}) %}
    {% endif %}
    {% if old.materialized != new.materialized %}
        {% do changes.append({'level': 'major' if new.materialized == 'ephemeral' else 'minor',
            'change': 'materialization changed from ' ~ old.materialized ~ ' to ' ~ new.materialized}) %}
    {% endif %}
    {% for constraint in old.constraints if constraint not in new.constraints %}
        {% do changes.append({'level': 'major', 'change': 'constraint ' ~ constraint ~ ' was removed or changed'}) %}
    {% endfor %}
    {% for constraint in new.constraints if constraint not in old.constraints %}
        {% do changes.append({'level': 'minor', 'change': 'constraint ' ~ constraint ~ ' was added'}) %}
    {% endfor %}
    {{ return(changes) }}
{% endmacro %}

{# Is a step from one version to another enough for what changed? Below 1.0.0 a minor step carries a breaking change. #}
{% macro _step_suffices(level, old, new) %}
    {% set part = dbt_cicd_toolkit._semver_part(old, new) %}
    {% if level == 'major' %}
        {{ return(part == 'major' or (old.core[0] == '0' and part == 'minor')) }}
    {% elif level == 'minor' %}
        {{ return(part != 'patch' or old.core[0] == '0') }}
    {% endif %}
    {{ return(true) }}
{% endmacro %}

{# What a bump of 'auto' means for findings; none when the columns are unknown, which is never taken for a patch. #}
{% macro _automatic_part(level, old) %}
    {% set parts = {'major': 'major', 'minor': 'minor', 'patch': 'patch'} if old.core[0] != '0' else {'major': 'minor', 'minor': 'patch', 'patch': 'patch'} %}
    {{ return(parts.get(level)) }}
{% endmacro %}
