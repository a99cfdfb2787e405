{# The ledger's shape: {table: {column: type}}. Columns are added last and nullable, never changed or taken away, so that an
   older release goes on writing; what cannot be done so raises the major of _ledger_major(), which older releases refuse. #}
{% macro _ledger_tables() %}
    {% set thing = {'id': 'text', 'kind': 'text', 'unique_id': 'text', 'name': 'text'} %}
    {% set origin = {'recorded_by': 'text', 'recorded_at': 'timestamp', 'invocation_id': 'text', 'git_commit': 'text'} %}
    {% set tables = {
        'dbt_cicd_versions': {
            'version': 'text', 'precedence_key': 'key', 'is_prerelease': 'boolean', 'description': 'text', 'is_breaking': 'boolean',
            'findings': 'text', 'checksum': 'text', 'columns': 'text', 'definition': 'text', 'renamed_from': 'text',
            'columns_known': 'boolean'},
        'dbt_cicd_builds': {
            'checksum': 'text', 'status': 'text', 'target': 'text', 'relation_name': 'text', 'flags': 'text', 'message': 'text', 'relation_id': 'text'},
        'dbt_cicd_test_results': {
            'test_unique_id': 'text', 'test_type': 'text', 'test_checksum': 'text', 'checksum': 'text', 'status': 'text', 'failures': 'integer',
            'target': 'text', 'relation_name': 'text', 'flags': 'text', 'message': 'text'},
        'dbt_cicd_deployments': {
            'promotion_id': 'text', 'version': 'text', 'from_version': 'text', 'checksum': 'text', 'environment': 'text', 'status': 'text'},
    } %}
    {% set shape = {'dbt_cicd_ledger': {'major': 'integer', 'package_version': 'text', 'recorded_by': 'text', 'recorded_at': 'timestamp'}} %}
    {% for table, columns in tables.items() %}
        {% do shape.update({table: dbt_cicd_toolkit._merged([thing, columns, origin])}) %}
    {% endfor %}
    {# The promotion of a set: its things are in `plan`, so it has no unique_id of its own. #}
    {% do shape.update({'dbt_cicd_promotions': dbt_cicd_toolkit._merged([{'id': 'text', 'kind': 'text', 'environment': 'text', 'status': 'text',
        'models': 'text', 'versions': 'text', 'plan': 'text', 'reasons': 'text', 'warnings': 'text', 'description': 'text', 'approved_by': 'text'}, origin])}) %}
    {{ return(shape) }}
{% endmacro %}

{# Dicts laid over one another, the last one on top, in a new dict. #}
{% macro _merged(dicts) %}
    {% set merged = {} %}
    {% for part in dicts %}
        {% do merged.update(part) %}
    {% endfor %}
    {{ return(merged) }}
{% endmacro %}

{% macro _ledger_major() %}
    {{ return(1) }}
{% endmacro %}

{# {table: {index: columns}}. The first index of a table is unique. #}
{% macro _ledger_indexes() %}
    {{ return({
        'dbt_cicd_ledger': {},
        'dbt_cicd_versions': {'dbt_cicd_versions_version': 'kind, unique_id, version',
                              'dbt_cicd_versions_precedence': 'kind, unique_id, is_prerelease desc, precedence_key',
                              'dbt_cicd_versions_checksum': 'kind, unique_id, checksum, precedence_key',
                              'dbt_cicd_versions_recorded': 'kind, unique_id, recorded_at',
                              'dbt_cicd_versions_name': 'kind, name'},
        'dbt_cicd_builds': {'dbt_cicd_builds_id': 'id',
                            'dbt_cicd_builds_newest': 'unique_id, target, relation_name, recorded_at'},
        'dbt_cicd_test_results': {'dbt_cicd_test_results_id': 'id',
                                  'dbt_cicd_test_results_newest': 'unique_id, checksum, target, test_type, test_unique_id, recorded_at'},
        'dbt_cicd_promotions': {'dbt_cicd_promotions_id': 'id',
                                'dbt_cicd_promotions_newest': 'kind, environment, recorded_at'},
        'dbt_cicd_deployments': {'dbt_cicd_deployments_id': 'id',
                                 'dbt_cicd_deployments_newest': 'kind, unique_id, environment, recorded_at',
                                 'dbt_cicd_deployments_recorded': 'kind, unique_id, recorded_at',
                                 'dbt_cicd_deployments_environment': 'kind, environment, unique_id'},
    }) }}
{% endmacro %}

{# The name of a ledger table as SQL takes it. #}
{% macro _table(name) %}
    {{ return(dbt_cicd_toolkit._identifier(target.database) ~ '.' ~ dbt_cicd_toolkit._identifier(dbt_cicd_toolkit._config('ledger_schema')) ~ '.' ~ name) }}
{% endmacro %}
