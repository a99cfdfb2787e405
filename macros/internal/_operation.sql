{# What the command line starts instead of a public macro: the same call, answered by one marked line of JSON with the value, the mirror's
   documents (which the command line writes atomically, on either engine), and when the ledger last changed each of them.
   In: the name of a public macro, its arguments, and the release of the command line, which must be that of the macros. #}
{% macro _operation(call, arguments={}, program_version=none) %}
    {% if not execute %}{{ return(none) }}{% endif %}
    {% if program_version is not none and program_version != dbt_cicd_toolkit._package_version() %}
        {% set program_is_older = dbt_cicd_toolkit._semver_key(dbt_cicd_toolkit._semver('_operation', program_version, 'program_version'))
            < dbt_cicd_toolkit._semver_key(dbt_cicd_toolkit._semver_parse(dbt_cicd_toolkit._package_version())) %}
        {% do dbt_cicd_toolkit._refused('_operation', 'the command line is release ' ~ program_version ~ ', the macros in dbt_packages are release '
            ~ dbt_cicd_toolkit._package_version() ~ '. Upgrade ' ~ ('the command line: pip install --upgrade dbt_cicd_toolkit==' ~ dbt_cicd_toolkit._package_version()
            if program_is_older else 'the macros: set ' ~ program_version ~ ' in packages.yml and run `dbt deps`') ~ '.') %}
    {% endif %}
    {% set calls = {
        'register_version': dbt_cicd_toolkit.register_version,
        'register_changed_models': dbt_cicd_toolkit.register_changed_models,
        'get_version_history': dbt_cicd_toolkit.get_version_history,
        'get_latest_version': dbt_cicd_toolkit.get_latest_version,
        'deploy_version': dbt_cicd_toolkit.deploy_version,
        'check_breaking_version': dbt_cicd_toolkit.check_breaking_version,
        'rename_model': dbt_cicd_toolkit.rename_model,
        'promote_to_environment': dbt_cicd_toolkit.promote_to_environment,
        'get_promotion_status': dbt_cicd_toolkit.get_promotion_status,
        'get_staging_validated_models': dbt_cicd_toolkit.get_staging_validated_models,
        'setup_ledger': dbt_cicd_toolkit.setup_ledger,
        'prune_evidence': dbt_cicd_toolkit.prune_evidence,
        'export_state': dbt_cicd_toolkit.export_state,
        'ledger_rows': dbt_cicd_toolkit._ledger_rows,
        'import_ledger_rows': dbt_cicd_toolkit._import_ledger_rows,
        'deploy_job': dbt_cicd_toolkit._deploy_job,
        'job_deployments': dbt_cicd_toolkit._job_deployments,
    } %}
    {% if call not in calls %}
        {% do dbt_cicd_toolkit._invalid('_operation', "no macro is named '" ~ call ~ "'. Allowed: " ~ calls.keys() | join(', ') ~ '.') %}
    {% endif %}
    {% do calls[call](**arguments) %}
{% endmacro %}

{% macro _print_envelope(value, documents=[], refusal=none, warnings=[]) %}
    {% set files = {} %}
    {% set mirrored = dbt_cicd_toolkit._config('write_mirror') %}
    {% for document in documents if mirrored %}
        {% do files.update({document.path: document.text ~ '\n'}) %}
    {% endfor %}
    {% do print('DBT_CICD_RESULT ' ~ tojson({
        'package_version': dbt_cicd_toolkit._package_version(),
        'value': value,
        'success': refusal is none,
        'message': refusal,
        'warnings': warnings,
        'documents': files,
        'mirror': dbt_cicd_toolkit._mirror_index() if mirrored else {},
    })) %}
{% endmacro %}

{# {path: as_of} of every document that the ledger has something for: the command line mends the files that are older, or torn. #}
{% macro _mirror_index() %}
    {% set index = {} %}
    {% if not dbt_cicd_toolkit._ledger_state().tables.get('dbt_cicd_deployments') %}
        {{ return(index) }}
    {% endif %}
    {% set models = [] %}
    {% for node in graph.nodes.values() if node.resource_type == 'model' %}
        {% do models.append(node.unique_id) %}
    {% endfor %}
    {% if models %}
        {% for row in dbt_cicd_toolkit._read("select * from (" ~ dbt_cicd_toolkit._models_as_of_sql(dbt_cicd_toolkit._ids(models)) ~ ") as a where as_of is not null") %}
            {% do index.update({'versions/' ~ dbt_cicd_toolkit._display_name(row.unique_id) ~ '.json': row.as_of}) %}
        {% endfor %}
    {% endif %}
    {% for row in dbt_cicd_toolkit._read("select e.environment, (select " ~ dbt_cicd_toolkit._timestamp_text('max(p.recorded_at)', exact=true) ~ " from "
            ~ dbt_cicd_toolkit._table('dbt_cicd_promotions') ~ " p where p.kind = 'model' and p.environment = e.environment) as as_of from "
            ~ dbt_cicd_toolkit._distinct('dbt_cicd_promotions', 'environment') ~ " as e") %}
        {% do index.update({'promotion_states/' ~ row.environment ~ '.json': row.as_of}) %}
    {% endfor %}
    {{ return(index) }}
{% endmacro %}
