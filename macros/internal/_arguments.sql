{# What every public macro does first. `extra` is the macro's own kwargs: dbt v2 ignores an unknown key
   of --args silently, so a misspelt `require_test: true` would gate nothing. #}
{% macro _check_call(where, extra, writes=false) %}
    {% if extra %}
        {% do dbt_cicd_toolkit._invalid(where, "unknown argument '" ~ extra.keys() | list | join("', '")
            ~ "'. See the arguments in the README, or macros/_macros.yml.") %}
    {% endif %}
    {# A write while a model compiles is lost when that model fails (dbt Core on PostgreSQL), and runs again with every `dbt compile`. #}
    {% if writes and invocation_args_dict.which != 'run-operation' and model is defined and model.resource_type != 'operation' %}
        {% do dbt_cicd_toolkit._invalid(where, "writes to the ledger and was reached while " ~ model.unique_id
            ~ " compiles. Only reading macros work inside a model. Call it as `dbt run-operation " ~ where ~ "`, or from an operation of your own.") %}
    {% endif %}
{% endmacro %}

{# A required or optional text: never a number, a date or a list, which YAML makes of unquoted values. #}
{% macro _text_argument(where, name, value, required=false) %}
    {% if value is none or value is not defined %}
        {% if required %}
            {% do dbt_cicd_toolkit._invalid(where, name ~ ' is missing. It must be a text.') %}
        {% endif %}
        {{ return(none) }}
    {% endif %}
    {% if value is not string %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ ' is ' ~ value ~ ', which --args (YAML) did not read as a text'
            ~ (', and it reads 1.10 as 1.1' if value is number else '') ~ '. Put it in quotes: ' ~ name ~ ': "' ~ value ~ '".') %}
    {% endif %}
    {% if '\x00' in value %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ ' holds a NUL character, which no database text can hold. Take it out.') %}
    {% endif %}
    {% if required and not value | trim %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ ' is empty. It must be a text.') %}
    {% endif %}
    {{ return(value) }}
{% endmacro %}

{# true or false. YAML 1.1 and 1.2 disagree on yes/no/on/off (dbt Core reads them as booleans, dbt v2 as texts). #}
{% macro _boolean_argument(where, name, value) %}
    {% if value is boolean %}
        {{ return(value) }}
    {% endif %}
    {% if value is string and value | lower in ['true', 'yes', 'on', 'false', 'no', 'off'] %}
        {{ return(value | lower in ['true', 'yes', 'on']) }}
    {% endif %}
    {% do dbt_cicd_toolkit._invalid(where, name ~ " is '" ~ value ~ "'. Allowed: true, false.") %}
{% endmacro %}

{# A list of names, given as a list or as one comma-separated text. #}
{% macro _names_argument(where, name, value) %}
    {% if value is string %}
        {% set value = value.split(',') %}
    {% endif %}
    {% if value is mapping or value is not iterable %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ " is '" ~ value ~ "'. Allowed: a list of model names, or one comma-separated text.") %}
    {% endif %}
    {% set names = [] %}
    {% for item in value %}
        {% set text = dbt_cicd_toolkit._text_argument(where, name, item, required=true) | trim if item is not string or item | trim else '' %}
        {% if text and text not in names %}
            {% do names.append(text) %}
        {% endif %}
    {% endfor %}
    {% if not names %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ ' is empty. Name at least one model, for example customers,orders.') %}
    {% endif %}
    {{ return(names) }}
{% endmacro %}

{# A number of days or hours, not negative; a text holding one is taken too. #}
{% macro _number_argument(where, name, value) %}
    {% if value is number and value is not boolean and value >= 0 %}
        {{ return(value) }}
    {% endif %}
    {% if value is string and modules.re.match('^[0-9]+([.][0-9]+)?$', value) %}
        {{ return(value | float) }}
    {% endif %}
    {% do dbt_cicd_toolkit._invalid(where, name ~ " is '" ~ value ~ "'. Allowed: a number, 0 or more.") %}
{% endmacro %}

{# The name of an environment is also the name of a mirror file: nothing that could leave its folder. #}
{% macro _environment_argument(where, name, value, required=true) %}
    {% set text = dbt_cicd_toolkit._text_argument(where, name, value, required) %}
    {% if text is not none and (text | length > 100 or not modules.re.match('^[A-Za-z0-9][A-Za-z0-9_.-]*$', text) or '\n' in text) %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ " is '" ~ text[:200] ~ "'. Allowed: letters, digits, '_', '-' and '.', beginning with a letter or digit, "
            ~ "at most 100 characters, for example production.") %}
    {% endif %}
    {{ return(text) }}
{% endmacro %}
