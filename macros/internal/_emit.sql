{# Is `name` the operation the user started? dbt Core says so itself; dbt v2 has the command line only,
   with its quotes gone, so the first word behind run-operation that is no option is read. #}
{% macro _is_operation(name) %}
    {% if invocation_args_dict.which != 'run-operation' %}
        {{ return(false) }}
    {% endif %}
    {% if invocation_args_dict.macro %}
        {% set started = invocation_args_dict.macro %}
    {% else %}
        {% set words = invocation_args_dict.invocation_command.split(' run-operation ')[1:] | join(' run-operation ') %}
        {% set words = words.split() %}
        {% if words and not words[0].startswith('-') %}
            {% set started = words[0] %}
        {% else %}
            {% set started = name if name in words or 'dbt_cicd_toolkit.' ~ name in words else '' %}
        {% endif %}
    {% endif %}
    {{ return(started in [name, 'dbt_cicd_toolkit.' ~ name]) }}
{% endmacro %}

{# How every public macro ends: give the value back, and print it when the macro is the operation itself:
   scalars bare, structures as one line of JSON. #}
{% macro _emit(where, value, warnings=[]) %}
    {% if dbt_cicd_toolkit._is_operation('_operation') %}
        {% do dbt_cicd_toolkit._print_envelope(value=value, warnings=warnings) %}
        {{ return(value) }}
    {% endif %}
    {% for warning in warnings %}
        {% do dbt_cicd_toolkit._warn(where, warning) %}
    {% endfor %}
    {% if dbt_cicd_toolkit._is_operation(where) %}
        {# An empty text is no line: what there is none of prints nothing. #}
        {% if value == '' %}
        {% elif value is boolean %}
            {% do print('true' if value else 'false') %}
        {% elif value is string or value is number %}
            {% do print(value) %}
        {% else %}
            {% do print(tojson(value)) %}
        {% endif %}
    {% endif %}
    {{ return(value) }}
{% endmacro %}

{# The end of a public macro that writes. `outcome` is what its implementation returns:
   value; touched = {models: [unique_id], environments: [name]} or the documents themselves; refusal = none or the message of a refused attempt; warnings.
   The mirror is written while the lock is still held, so that two operations cannot write it in the wrong order. #}
{% macro _finish(where, outcome) %}
    {% set touched = outcome.get('touched', {}) %}
    {% set documents = outcome.get('documents') or dbt_cicd_toolkit._documents(touched.get('models', []), touched.get('environments', [])) %}
    {% if dbt_cicd_toolkit._is_operation('_operation') %}
        {% do dbt_cicd_toolkit._unlock() %}
        {% do dbt_cicd_toolkit._print_envelope(value=outcome.value, documents=documents, refusal=outcome.get('refusal'), warnings=outcome.get('warnings', [])) %}
        {{ return(outcome.value) }}
    {% endif %}
    {% do dbt_cicd_toolkit._write_documents(documents) %}
    {% do dbt_cicd_toolkit._unlock() %}
    {% if outcome.get('refusal') %}
        {% do dbt_cicd_toolkit._refused(where, outcome.refusal) %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, outcome.value, outcome.get('warnings', []))) }}
{% endmacro %}

{# A word to people, which never gets between a pipeline and the value it reads: dbt v2 puts info logs on stdout even when it is quiet. #}
{% macro _warn(where, message) %}
    {% if not flags.QUIET or dbt_version.startswith('1.') %}
        {% do log('WARNING dbt_cicd_toolkit.' ~ where ~ '(): ' ~ message, info=true) %}
    {% endif %}
{% endmacro %}
