{# What each environment has of each model, and of each Python job, as `job.my_job`. In: an environment, models (list or comma-separated text; jobs
   by that name), or none for all.
   Out: {environment: {model: {version, status: deployed | not_deployed, since, promoted_by, promotion_id, code_changed, build_changed, in_project, unique_id}}}.
   A job's entry has {version, status, since, promoted_by, promotion_id, unique_id}: dbt does not see its code.
   code_changed: is the project's code another than what is there; build_changed: is the newest build in the environment's target of
   another code; none where that cannot be known. #}
{% macro get_promotion_status(environment=none, models=none) %}
    {% if not execute %}{{ return({}) }}{% endif %}
    {% set where = 'get_promotion_status' %}
    {% do dbt_cicd_toolkit._check_call(where, kwargs) %}
    {% set environment = dbt_cicd_toolkit._environment_argument(where, 'environment', environment, required=false) %}
    {% set ledger = dbt_cicd_toolkit._open_for_read(where) %}
    {% set unique_ids = none %}
    {% set jobs = none %}
    {% if models is not none %}
        {% set unique_ids = [] %}
        {% set jobs = [] %}
        {% set index = dbt_cicd_toolkit._model_index() %}
        {% for name in dbt_cicd_toolkit._names_argument(where, 'models', models) %}
            {% if name.startswith('job.') and name not in index.names %}
                {% do jobs.append(dbt_cicd_toolkit._past_job(where, name, ledger)) %}
            {% else %}
                {% do unique_ids.append(dbt_cicd_toolkit._model_or_past(where, index, name, ledger)) %}
            {% endif %}
        {% endfor %}
    {% endif %}
    {% set rows = dbt_cicd_toolkit._read_deployed(unique_ids, [environment] if environment else none) if ledger and (unique_ids is none or unique_ids) else [] %}
    {% if unique_ids is none and ledger %}
        {% set renamed = dbt_cicd_toolkit._read("select distinct renamed_from as old from " ~ dbt_cicd_toolkit._table('dbt_cicd_versions') ~ " where renamed_from is not null") | map(attribute='old') | list %}
        {% set rows = rows | rejectattr('unique_id', 'in', renamed) | list %}
    {% endif %}
    {% set status = {} %}
    {% if environment %}
        {% do status.update({environment: {}}) %}
    {% endif %}
    {% if unique_ids is not none and not environment and ledger %}
        {% for row in dbt_cicd_toolkit._read("select distinct environment from " ~ dbt_cicd_toolkit._table('dbt_cicd_deployments') ~ " order by environment") %}
            {% do status.update({row.environment: {}}) %}
        {% endfor %}
    {% endif %}
    {% set targets = {} %}
    {% set wanted = [] %}
    {% for row in rows %}
        {% if row.environment not in targets %}
            {% do targets.update({row.environment: dbt_cicd_toolkit._environment(where, row.environment).target}) %}
        {% endif %}
        {% set here = targets[row.environment] == target.name and row.unique_id in graph.nodes %}
        {% do wanted.append({'unique_id': row.unique_id, 'target': targets[row.environment], 'relation_name': graph.nodes[row.unique_id].relation_name or '' if here else none}) %}
    {% endfor %}
    {% set builds = {} %}
    {% for name in targets.values() | unique %}
        {% do builds.update({name: dbt_cicd_toolkit._read_builds(wanted | selectattr('target', 'equalto', name) | unique(attribute='unique_id') | list)}) %}
    {% endfor %}
    {% set checksums = {} %}
    {% for row in rows %}
        {% set node = graph.nodes.get(row.unique_id) %}
        {% set build = builds[targets[row.environment]].get(row.unique_id) %}
        {% if node and row.unique_id not in checksums %}
            {% do checksums.update({row.unique_id: dbt_cicd_toolkit._checksum(node)}) %}
        {% endif %}
        {% do status.setdefault(row.environment, {}).update({dbt_cicd_toolkit._display_name(row.unique_id): {
            'version': row.version, 'status': 'deployed', 'since': row.since[:19], 'promoted_by': row.recorded_by, 'promotion_id': row.promotion_id,
            'code_changed': checksums[row.unique_id] != row.checksum if node else none,
            'build_changed': build.checksum != row.checksum if build else none,
            'in_project': true if node else false, 'unique_id': row.unique_id}}) %}
    {% endfor %}
    {% for name in status.keys() | list %}
        {% for unique_id in unique_ids or [] if dbt_cicd_toolkit._display_name(unique_id) not in status[name] %}
            {% do status[name].update({dbt_cicd_toolkit._display_name(unique_id): {'version': none, 'status': 'not_deployed', 'since': none, 'promoted_by': none,
                'promotion_id': none, 'code_changed': none, 'build_changed': none, 'in_project': unique_id in graph.nodes, 'unique_id': unique_id}}) %}
        {% endfor %}
    {% endfor %}
    {% if ledger and (jobs is none or jobs) %}
        {% do dbt_cicd_toolkit._add_jobs(status, jobs, environment) %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, status)) }}
{% endmacro %}

{# Adds to the status what each environment has of each job. In: [unique_id], or none for all that were ever deployed. #}
{% macro _add_jobs(status, unique_ids, environment) %}
    {% for row in dbt_cicd_toolkit._read_deployed(unique_ids, [environment] if environment else none, kind='job') %}
        {% do status.setdefault(row.environment, {}).update({dbt_cicd_toolkit._display_name(row.unique_id): {'version': row.version, 'status': 'deployed',
            'since': row.since[:19], 'promoted_by': row.recorded_by, 'promotion_id': row.promotion_id, 'unique_id': row.unique_id}}) %}
    {% endfor %}
    {% for name in status.keys() | list %}
        {% for unique_id in unique_ids or [] if dbt_cicd_toolkit._display_name(unique_id) not in status[name] %}
            {% do status[name].update({dbt_cicd_toolkit._display_name(unique_id): {'version': none, 'status': 'not_deployed', 'since': none, 'promoted_by': none,
                'promotion_id': none, 'unique_id': unique_id}}) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}

{# The unique_id of a job that was ever deployed, by its name `job.my_job`, or an error. #}
{% macro _past_job(where, name, ledger) %}
    {% set known = {} %}
    {% if ledger %}
        {% for row in dbt_cicd_toolkit._read("select unique_id from " ~ dbt_cicd_toolkit._distinct('dbt_cicd_deployments', 'unique_id', kind='job') ~ " as d order by unique_id") %}
            {% do known.update({dbt_cicd_toolkit._display_name(row.unique_id): row.unique_id}) %}
        {% endfor %}
    {% endif %}
    {% set found = known.get(name) or (name if name in known.values() else none) %}
    {% if not found %}
        {% set nearest = dbt_cicd_toolkit._nearest(name, known.keys() | list) %}
        {% do dbt_cicd_toolkit._invalid(where, "job '" ~ name[4:204] ~ "' was never deployed. "
            ~ ('The nearest: ' ~ nearest | join(', ') ~ '.' if nearest else '`dbt-cicd job deploy NAME VERSION ENVIRONMENT` puts one into an environment.')) %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}
