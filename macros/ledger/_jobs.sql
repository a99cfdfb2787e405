{# Versions of Python jobs in the ledger, kind 'job'. Both macros are started by the command line only, which knows the jobs: `dbt-cicd job deploy` and what
   asks for live jobs. A job's unique_id is job.<this dbt project>.<name>, its name job.<name>. #}

{# Registers a version of a job, unless it is there, and puts it into an environment, in one commit. In: what its manifest says; `reads` and `writes` are
   none where the job does not say. Refused while one of its models is not in that environment, and by the rules of the environment.
   Out: {job, version, from_version, environment, action: deploy | unchanged | refused, registered, promotion_id, status, success, dry_run, timestamp, reasons, warnings}. #}
{% macro _deploy_job(job, version, environment, checksum, reads=none, writes=none, is_breaking=false, description=none, approved_by=none, dry_run=false) %}
    {% set where = 'job deploy' %}
    {% set environment = dbt_cicd_toolkit._environment_argument(where, 'environment', environment) %}
    {% set settings = dbt_cicd_toolkit._environment(where, environment) %}
    {% set parsed = dbt_cicd_toolkit._semver(where, version) %}
    {% set unique_id = 'job.' ~ project_name ~ '.' ~ job %}
    {% if dry_run %}
        {% set ledger = dbt_cicd_toolkit._open_for_read(where) %}
        {% set now = dbt_cicd_toolkit._read('select ' ~ dbt_cicd_toolkit._timestamp_text(dbt_cicd_toolkit._now(), exact=true) ~ ' as now')[0].now %}
    {% else %}
        {% set now = dbt_cicd_toolkit._open_for_write(where) %}
        {% set ledger = true %}
    {% endif %}
    {% set fact = dbt_cicd_toolkit._read_for_promotion([{'unique_id': unique_id, 'version': parsed.version, 'environment': environment,
        'source': settings.promote_from, 'checksum': checksum}], kind='job')[unique_id] if ledger else {} %}
    {% if fact.checksum and fact.checksum != checksum %}
        {% do dbt_cicd_toolkit._differs(where, 'version ' ~ parsed.version ~ ' of job ' ~ job ~ ' was registered with other code, and a registered version never changes. `dbt-cicd job check` says what differs.') %}
    {% endif %}
    {% set registered = fact.checksum is defined and fact.checksum is not none %}
    {% do fact.update({'is_breaking': is_breaking or fact.get('is_breaking', false)}) %}
    {% set item = {'model': dbt_cicd_toolkit._display_name(unique_id), 'unique_id': unique_id, 'version': parsed.version, 'from_version': fact.get('from_version'),
        'checksum': checksum, 'reasons': [], 'warnings': [],
        'action': 'unchanged' if fact.since and fact.from_version == parsed.version else 'promote',
        'first_there': 'dbt-cicd job deploy ' ~ job ~ ' ' ~ parsed.version ~ ' ' ~ settings.promote_from,
        'instead': 'Leave the version before beside it'} %}
    {% do dbt_cicd_toolkit._gate_source(item, fact, settings, {'now': now}) %}
    {% do dbt_cicd_toolkit._gate_breaking(item, fact, environment, settings, {'approved_by': (approved_by or '') | trim}) %}
    {% do dbt_cicd_toolkit._gate_models(item, environment, reads, writes, ledger) %}
    {% set success = not item.reasons %}
    {% set value = {'job': job, 'version': parsed.version, 'from_version': item.from_version, 'environment': environment,
        'action': 'refused' if not success else 'unchanged' if item.action == 'unchanged' else 'deploy', 'registered': success and not registered,
        'promotion_id': none if dry_run else dbt_cicd_toolkit._uuid('promotion'), 'status': 'failed' if not success else 'planned' if dry_run else 'success',
        'success': success, 'dry_run': dry_run, 'timestamp': now[:19], 'reasons': item.reasons, 'warnings': item.warnings} %}
    {% if not dry_run %}
        {% do dbt_cicd_toolkit._commit_job(value, item, parsed, fact.is_breaking, description, approved_by, now) %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._finish(where, {'value': value, 'warnings': item.warnings,
        'refusal': none if success else job ~ ' ' ~ parsed.version ~ ' was not deployed to ' ~ environment ~ ': ' ~ item.reasons | join(' ')})) }}
{% endmacro %}

{# The version, the promotion and the deployment of a job, or the refused attempt alone. #}
{% macro _commit_job(value, item, parsed, is_breaking, description, approved_by, now) %}
    {% set plan = {'model': item.model, 'unique_id': item.unique_id, 'version': item.version, 'from_version': item.from_version,
        'action': 'promote' if value.action == 'deploy' else value.action, 'checksum': item.checksum, 'reasons': item.reasons, 'warnings': item.warnings} %}
    {% set statements = [dbt_cicd_toolkit._append_sql('dbt_cicd_promotions', [{'id': value.promotion_id, 'environment': value.environment, 'status': value.status,
        'models': tojson([item.model]), 'versions': tojson({item.model: item.version}), 'plan': tojson([plan]), 'reasons': tojson(item.reasons),
        'warnings': tojson(item.warnings), 'description': description, 'approved_by': approved_by}], now, kind='job')] %}
    {% if value.registered %}
        {% do statements.append(dbt_cicd_toolkit._append_sql('dbt_cicd_versions', [{'unique_id': item.unique_id, 'name': item.model, 'version': item.version,
            'precedence_key': dbt_cicd_toolkit._semver_key(parsed), 'is_prerelease': false, 'description': description, 'is_breaking': is_breaking,
            'findings': '[]', 'checksum': item.checksum, 'columns_known': false}], now, kind='job')) %}
    {% endif %}
    {% if value.action == 'deploy' %}
        {% do statements.append(dbt_cicd_toolkit._append_sql('dbt_cicd_deployments', [{'unique_id': item.unique_id, 'name': item.model, 'promotion_id': value.promotion_id,
            'version': item.version, 'from_version': item.from_version, 'checksum': item.checksum, 'environment': value.environment, 'status': 'success'}], now, kind='job')) %}
    {% endif %}
    {% do dbt_cicd_toolkit._commit(statements) %}
{% endmacro %}

{# Which version of which job was ever put where. Out: [{job, environment, version, since, by, live}]; live: it is what the environment got last. #}
{% macro _job_deployments(environment=none) %}
    {% set where = 'job deployments' %}
    {% set environment = dbt_cicd_toolkit._environment_argument(where, 'environment', environment, required=false) %}
    {% set found = [] %}
    {% if dbt_cicd_toolkit._open_for_read(where) %}
        {% set deployments = dbt_cicd_toolkit._table('dbt_cicd_deployments') %}
        {% set later = "exists (select 1 from " ~ deployments ~ " l where l.kind = 'job' and l.unique_id = d.unique_id and l.environment = d.environment
            and l.status = 'success' and (l.recorded_at > d.recorded_at or (l.recorded_at = d.recorded_at and l.id > d.id)){})" %}
        {% set start = 'job.' ~ project_name ~ '.' %}
        {% set rows = dbt_cicd_toolkit._read("select d.unique_id, d.environment, d.version, d.recorded_by, " ~ dbt_cicd_toolkit._timestamp_text('d.recorded_at') ~ " as since,
                not " ~ later | replace('{}', '') ~ " as live
            from " ~ deployments ~ " d where d.kind = 'job' and d.status = 'success'"
            ~ (" and d.environment = " ~ dbt_cicd_toolkit._literal(environment) if environment else '')
            ~ " and not " ~ later | replace('{}', ' and l.version = d.version') ~ " order by d.environment, d.unique_id, d.recorded_at, d.id") %}
        {% for row in rows if row.unique_id.startswith(start) %}
            {% do found.append({'job': row.unique_id[start | length:], 'environment': row.environment, 'version': row.version, 'since': row.since,
                'by': row.recorded_by, 'live': row.live}) %}
        {% endfor %}
    {% endif %}
    {{ return(dbt_cicd_toolkit._emit(where, found)) }}
{% endmacro %}
