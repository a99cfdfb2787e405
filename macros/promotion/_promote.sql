{# One promotion: plan, then one atomic write of the promotion and its deployments, or of the refused attempt and its reasons. With update_state false
   it writes nothing at all. Both promote_to_environment and deploy_version are this.
   Out: an outcome for _finish() with the value {promotion_id, target_environment, status: success | failed | planned, success, dry_run, timestamp,
   models: [name], versions: {name: version}, plan: see _plan(), reasons, warnings: [text], description, approved_by}. #}
{% macro _promote(where, environment, requests, require_tests, update_state, approved_by, description, failures={}) %}
    {% set environment = dbt_cicd_toolkit._environment_argument(where, 'target_environment' if where == 'promote_to_environment' else 'environment', environment) %}
    {% set require_tests = dbt_cicd_toolkit._boolean_argument(where, 'require_tests', require_tests) %}
    {% set update_state = dbt_cicd_toolkit._boolean_argument(where, 'update_state', update_state) %}
    {% set approved_by = dbt_cicd_toolkit._text_argument(where, 'approved_by', approved_by) %}
    {% set description = dbt_cicd_toolkit._text_argument(where, 'description', description) %}
    {% do dbt_cicd_toolkit._environment(where, environment) %}
    {% if update_state %}
        {% set now = dbt_cicd_toolkit._open_for_write(where) %}
        {% set ledger = true %}
    {% else %}
        {% set ledger = dbt_cicd_toolkit._open_for_read(where) %}
        {% set now = dbt_cicd_toolkit._read('select ' ~ dbt_cicd_toolkit._timestamp_text(dbt_cicd_toolkit._now(), exact=true) ~ ' as now')[0].now %}
    {% endif %}
    {% set plan = dbt_cicd_toolkit._plan(where, environment, requests, {'require_tests': require_tests, 'approved_by': (approved_by or '') | trim,
        'failures': failures, 'now': now, 'ledger': ledger}) %}
    {% set reasons = [] %}
    {% set warnings = [] %}
    {% set ruled = dbt_cicd_toolkit._config('environments') or {} %}
    {% if ruled and environment not in ruled %}
        {% do warnings.append("environment '" ~ environment ~ "' has no rules in dbt_cicd_toolkit_environments, which has: " ~ ruled.keys() | sort | join(', ')) %}
    {% endif %}
    {% set versions = {} %}
    {% for item in plan %}
        {% do versions.update({item.model: item.version}) %}
        {% for reason in item.reasons %}
            {% do reasons.append(item.model ~ ': ' ~ reason) %}
        {% endfor %}
        {% for warning in item.warnings %}
            {% do warnings.append(item.model ~ ': ' ~ warning) %}
        {% endfor %}
    {% endfor %}
    {% set success = not reasons %}
    {% set value = {'promotion_id': dbt_cicd_toolkit._uuid('promotion') if update_state else none, 'target_environment': environment,
        'status': 'failed' if reasons else 'success' if update_state else 'planned', 'success': success, 'dry_run': not update_state, 'timestamp': now[:19],
        'models': plan | map(attribute='model') | list, 'versions': versions, 'plan': plan, 'reasons': reasons, 'warnings': warnings,
        'description': description, 'approved_by': approved_by} %}
    {% set deployments = [] %}
    {% for item in plan if success and item.action == 'promote' %}
        {% do deployments.append({'unique_id': item.unique_id, 'name': item.model, 'promotion_id': value.promotion_id, 'version': item.version,
            'from_version': item.from_version, 'checksum': item.checksum, 'environment': environment, 'status': 'success'}) %}
    {% endfor %}
    {% if update_state %}
        {% set statements = [dbt_cicd_toolkit._append_sql('dbt_cicd_promotions', [{'id': value.promotion_id, 'environment': environment, 'status': value.status,
            'models': tojson(value.models), 'versions': tojson(versions), 'plan': tojson(plan), 'reasons': tojson(reasons), 'warnings': tojson(warnings),
            'description': description, 'approved_by': approved_by}], now)] %}
        {% if deployments %}
            {% do statements.append(dbt_cicd_toolkit._append_sql('dbt_cicd_deployments', deployments, now)) %}
        {% endif %}
        {% do dbt_cicd_toolkit._commit(statements) %}
    {% endif %}
    {{ return({'value': value,
        'touched': {'models': deployments | map(attribute='unique_id') | list, 'environments': [environment]} if update_state else {},
        'dry_run': not update_state,
        'refusal': none if success else 'nothing was promoted to ' ~ environment ~ '. ' ~ reasons | join(' ')}) }}
{% endmacro %}
