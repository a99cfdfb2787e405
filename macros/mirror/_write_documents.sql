{# Writes documents below dbt's target path. dbt Core only: its agate can write any text; dbt v2 has no way to write a file, and says so. #}
{% macro _write_documents(documents) %}
    {% if not documents or not dbt_cicd_toolkit._config('write_mirror') %}
        {{ return(none) }}
    {% endif %}
    {% if not dbt_version.startswith('1.') %}
        {% do dbt_cicd_toolkit._warn('mirror', 'dbt v2 cannot write files from a macro; `dbt-cicd ledger export` writes ' ~ documents | length ~ ' JSON file(s) below target/') %}
        {{ return(none) }}
    {% endif %}
    {% set root = dbt_cicd_toolkit._target_path() %}
    {% do store_result('_dbt_cicd_io', '') %}
    {% set io = load_result('_dbt_cicd_io').table %}
    {% for document in documents %}
        {# An empty table whose one heading is the text, written as CSV without quotes. CSV wants line ends inside a field escaped; a tab
           before each is white space to JSON, and the text itself holds no tab. #}
        {% do io.from_object([{document.text: ''}]).limit(0).to_csv(root ~ '/' ~ document.path, quoting=3, quotechar=none, delimiter='\x01', escapechar='\t') %}
    {% endfor %}
{% endmacro %}

{# dbt's target path as an absolute path: a relative one is relative to the project, not to the current directory. #}
{% macro _target_path() %}
    {% set path = invocation_args_dict.target_path or env_var('DBT_TARGET_PATH', '') or 'target' %}
    {{ return(path if path.startswith('/') else invocation_args_dict.project_dir ~ '/' ~ path) }}
{% endmacro %}
