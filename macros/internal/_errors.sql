{# The three ways to say no. The word in brackets at the end of the message is read by the command
   line, which turns it into its exit code: invalid 2, refused 1, differs 3. #}
{% macro _invalid(where, message) %}
    {% do dbt_cicd_toolkit._raise(where, message, 'invalid') %}
{% endmacro %}

{% macro _refused(where, message) %}
    {% do dbt_cicd_toolkit._raise(where, message, 'refused') %}
{% endmacro %}

{% macro _differs(where, message) %}
    {% do dbt_cicd_toolkit._raise(where, message, 'differs') %}
{% endmacro %}

{% macro _raise(where, message, kind) %}
    {% do exceptions.raise_compiler_error('dbt_cicd_toolkit.' ~ where ~ '(): ' ~ message ~ ' [' ~ kind ~ ']') %}
{% endmacro %}
