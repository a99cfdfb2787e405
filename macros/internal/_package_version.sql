{# The release of these macros: the same as VERSION and dbt_project.yml, which a test holds together. #}
{% macro _package_version() %}
    {{ return('0.1.0') }}
{% endmacro %}
