{# Data types as the two ends of a comparison see them. In: a type as a contract, PostgreSQL's format_type() or DuckDB's
   catalog prints it. Out: {base, arguments: [integer], text}; a type of another shape (struct(…), enum(…)) is its own base. #}
{% macro _parse_type(text) %}
    {% set text = modules.re.sub('\\s+', ' ', text | string | trim | lower) %}
    {% set m = modules.re.match('^([a-z][a-z0-9_ ]*?) ?(?:[(] ?([0-9]+) ?(?:, ?([0-9]+) ?)?[)])? ?((?:with|without) time zone)?$', text) %}
    {% if m is none or not m %}
        {{ return({'base': text, 'arguments': [], 'text': text}) }}
    {% endif %}
    {% set name = m.group(1) ~ (' ' ~ m.group(4) if m.group(4) else '') %}
    {% set aliases = {
        'character varying': 'varchar', 'text': 'varchar', 'string': 'varchar', 'character': 'char', 'bpchar': 'char',
        'int': 'integer', 'int4': 'integer', 'signed': 'integer', 'int2': 'smallint', 'short': 'smallint', 'int8': 'bigint', 'long': 'bigint',
        'int1': 'tinyint', 'decimal': 'numeric', 'dec': 'numeric', 'double': 'double precision', 'float8': 'double precision',
        'float4': 'real', 'float': 'real' if target.type == 'duckdb' else 'double precision', 'bool': 'boolean', 'logical': 'boolean',
        'timestamp without time zone': 'timestamp', 'datetime': 'timestamp', 'timestamp with time zone': 'timestamptz',
        'time without time zone': 'time', 'time with time zone': 'timetz', 'bytea': 'blob', 'binary': 'blob', 'varbinary': 'blob', 'jsonb': 'jsonb'
    } %}
    {% set base = aliases.get(name, name) %}
    {% set arguments = [] %}
    {% for group in [m.group(2), m.group(3)] %}
        {% if group %}
            {% do arguments.append(group | int) %}
        {% endif %}
    {% endfor %}
    {% if base == 'numeric' and arguments | length == 1 %}
        {% do arguments.append(0) %}
    {% elif base == 'numeric' and not arguments and target.type == 'duckdb' %}
        {% set arguments = [18, 3] %}
    {% elif base == 'char' and not arguments %}
        {% set arguments = [1] %}
    {% endif %}
    {# DuckDB takes a length and does not keep it; in a contract it is still a promise. #}
    {{ return({'base': base, 'arguments': arguments, 'text': base ~ ('(' ~ arguments | join(',') ~ ')' if arguments else '')}) }}
{% endmacro %}

{# 'same', 'widened' (every old value still fits, unchanged) or 'narrowed' (anything else). #}
{% macro _compare_types(old, new) %}
    {% set a = dbt_cicd_toolkit._parse_type(old) %}
    {% set b = dbt_cicd_toolkit._parse_type(new) %}
    {% if a.text == b.text %}
        {{ return('same') }}
    {% endif %}
    {% set digits = {'tinyint': 3, 'smallint': 5, 'integer': 10, 'bigint': 19, 'hugeint': 39} %}
    {% set wider = false %}
    {% if a.base == 'numeric' and b.base == 'numeric' %}
        {% set wider = not b.arguments or (a.arguments | length == 2 and b.arguments[1] >= a.arguments[1]
            and b.arguments[0] - b.arguments[1] >= a.arguments[0] - a.arguments[1]) %}
    {% elif a.base == b.base and a.base in ['varchar', 'bit varying', 'timestamp', 'timestamptz', 'time', 'timetz'] %}
        {% set wider = not b.arguments or (a.arguments and b.arguments[0] >= a.arguments[0]) %}
    {% elif a.base in digits and b.base in digits %}
        {% set wider = digits[b.base] > digits[a.base] %}
    {% elif a.base in digits and b.base == 'numeric' %}
        {% set wider = not b.arguments or b.arguments[0] - b.arguments[1] >= digits[a.base] %}
    {% elif a.base == 'real' and b.base == 'double precision' %}
        {% set wider = true %}
    {% endif %}
    {{ return('widened' if wider else 'narrowed') }}
{% endmacro %}
