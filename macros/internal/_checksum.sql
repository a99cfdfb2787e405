{# The checksum of a model: md5 over what its own file and YAML say. Not in it: macros, variables, upstream code, tags,
   descriptions, and the schema, which differs between environments. The parts are joined by hand because tojson sorts keys on
   dbt v2 and not on dbt Core. docs/reference/checksum.md says the same in words. #}
{% macro _checksum(node) %}
    {% set code = node.raw_code | string | replace('\r\n', '\n') | replace('\r', '\n') | trim %}
    {% set definition = dbt_cicd_toolkit._definition(node) %}
    {% set parts = ['code=' ~ code, 'materialized=' ~ definition.materialized, 'contract=' ~ definition.contract,
                    'access=' ~ definition.access, 'alias=' ~ node.alias] %}
    {% for column in definition.columns %}
        {% do parts.append('column=' ~ column.name ~ ':' ~ column.type) %}
    {% endfor %}
    {% for constraint in definition.constraints %}
        {% do parts.append('constraint=' ~ constraint) %}
    {% endfor %}
    {{ return(local_md5(parts | join('\n'))) }}
{% endmacro %}

{# What a model promises to those who read it. Out: {materialized, contract, access, relation, columns: [{name, type}] as declared,
   constraints: [text]}. `relation` is as configured, without the schema that an environment puts in front. #}
{% macro _definition(node) %}
    {% set config = node.get('config', {}) %}
    {% set contract = (config.get('contract') or {}).get('enforced', false) or false %}
    {% set columns = [] %}
    {% set constraints = [] %}
    {% for column in (node.get('columns') or {}).values() %}
        {% if column.get('data_type') %}
            {% do columns.append({'name': column.name, 'type': column.data_type | string | trim | lower}) %}
        {% endif %}
        {% for constraint in column.get('constraints') or [] %}
            {% do constraints.append(dbt_cicd_toolkit._constraint_text(constraint, [column.name])) %}
        {% endfor %}
    {% endfor %}
    {% for constraint in node.get('constraints') or [] %}
        {% do constraints.append(dbt_cicd_toolkit._constraint_text(constraint, constraint.get('columns') or [])) %}
    {% endfor %}
    {% set place = [config.get('database') or '', config.get('schema') or '', node.alias] %}
    {{ return({
        'materialized': config.get('materialized') | string | lower,
        'contract': contract,
        'access': (node.get('access') or config.get('access') or 'protected') | string | lower,
        'relation': place | join('.'),
        'columns': columns,
        'constraints': constraints | sort,
    }) }}
{% endmacro %}

{% macro _constraint_text(constraint, columns) %}
    {% set text = constraint.get('type') | string | lower ~ '(' ~ columns | join(', ') ~ ')' %}
    {% if constraint.get('expression') %}
        {% set text = text ~ ' ' ~ constraint.expression | trim %}
    {% endif %}
    {% if constraint.get('to') %}
        {% set text = text ~ ' to ' ~ constraint.to ~ '(' ~ (constraint.get('to_columns') or []) | join(', ') ~ ')' %}
    {% endif %}
    {{ return(text) }}
{% endmacro %}
