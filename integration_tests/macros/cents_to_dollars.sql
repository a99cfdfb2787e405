{% macro cents_to_dollars(column_name) -%}
    cast(cast({{ column_name }} as numeric(16, 2)) / 100 as numeric(16, 2))
{%- endmacro %}
