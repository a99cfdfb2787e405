{# The gate of the tests: what the newest outcome of each test says of the very code that is promoted. #}

{# {model unique_id: [{test, checksum}]}: the data tests that guard some models of the project. #}
{% macro _tests_by_model(unique_ids) %}
    {% set tests = {} %}
    {% for unique_id in unique_ids %}
        {% do tests.update({unique_id: []}) %}
    {% endfor %}
    {% for node in graph.nodes.values() if node.resource_type == 'test' %}
        {% set attached = node.get('attached_node') %}
        {# No macro call for the tests of other models: a project has thousands. #}
        {% for unique_id in ([attached] if attached else dbt_cicd_toolkit._guarded_models(node)) if unique_id in tests %}
            {% do tests[unique_id].append({'test': node.unique_id, 'checksum': dbt_cicd_toolkit._test_checksum(node)}) %}
        {% endfor %}
    {% endfor %}
    {{ return(tests) }}
{% endmacro %}

{# Sets `evidence` of every item, and its reasons. For the present code the project's tests are asked for, each in its present form; for an
   older version the tests that ran at its own time. #}
{% macro _gate_tests(items, environment, settings, options) %}
    {% set required = options.require_tests if settings.require_tests is none else settings.require_tests %}
    {% set tests_by_model = dbt_cicd_toolkit._tests_by_model(items | selectattr('unique_id') | map(attribute='unique_id') | list) %}
    {% set asked = [] %}
    {% set open = [] %}
    {% for item in items if item.unique_id and item.checksum %}
        {% set present = item.checksum == item.project_checksum %}
        {# Another target's relation cannot be known from here: then the newest outcome in that target counts, wherever it was. #}
        {% set relation = graph.nodes[item.unique_id].relation_name or '' if present and settings.target == target.name else none %}
        {# An older version may have had another name, but in the same schema. #}
        {% set schema = (graph.nodes[item.unique_id].relation_name or '').split('.')[:-1] | join('.') if not present and settings.target == target.name else none %}
        {% set place = {'unique_id': item.unique_id, 'checksum': item.checksum, 'target': settings.target, 'relation_name': relation, 'schema_name': schema or none} %}
        {% do open.append(dbt_cicd_toolkit._merged([place, {'test_type': 'unit', 'relation_name': none, 'schema_name': none}])) %}
        {% if present %}
            {% for test in tests_by_model.get(item.unique_id, []) %}
                {% do asked.append(dbt_cicd_toolkit._merged([place, {'test_unique_id': test.test, 'test_checksum': test.checksum}])) %}
            {% endfor %}
        {% else %}
            {% do open.append(dbt_cicd_toolkit._merged([place, {'test_type': 'data'}])) %}
        {% endif %}
    {% endfor %}
    {% set outcomes = dbt_cicd_toolkit._read_outcomes(asked, open) if required and options.ledger else {} %}
    {% do options.update({'built': dbt_cicd_toolkit._built_untested(items, tests_by_model, settings, options) if required and options.ledger else []}) %}
    {% for item in items %}
        {% if not required %}
            {% do item.update({'evidence': 'not required'}) %}
        {% elif item.unique_id and item.checksum %}
            {% set present = item.checksum == item.project_checksum %}
            {% set wanted = tests_by_model.get(item.unique_id, []) | map(attribute='test') | list %}
            {% do dbt_cicd_toolkit._judge(item, outcomes.get(item.unique_id, []), wanted if present else [], wanted | length > 0, present, settings, options) %}
        {% else %}
            {% do item.update({'evidence': 'none'}) %}
        {% endif %}
    {% endfor %}
{% endmacro %}

{# The models without tests whose present code was built: the one thing that is known of them. Out: [unique_id]. #}
{% macro _built_untested(items, tests_by_model, settings, options) %}
    {% set wanted = [] %}
    {% set checksums = {} %}
    {% for item in items if item.unique_id and item.checksum == item.project_checksum and not tests_by_model.get(item.unique_id) %}
        {% do checksums.update({item.unique_id: item.checksum}) %}
        {% do wanted.append({'unique_id': item.unique_id, 'target': settings.target,
            'relation_name': graph.nodes[item.unique_id].relation_name or '' if settings.target == target.name else none}) %}
    {% endfor %}
    {# An ephemeral model has nothing to build. #}
    {% set built = [] %}
    {% for unique_id in checksums if graph.nodes[unique_id].config.materialized == 'ephemeral' %}
        {% do built.append(unique_id) %}
    {% endfor %}
    {% for unique_id, build in (dbt_cicd_toolkit._read_builds(wanted) if wanted else {}).items() if build.checksum == checksums[unique_id] %}
        {% do built.append(unique_id) %}
    {% endfor %}
    {{ return(built) }}
{% endmacro %}

{# One item against its outcomes [{test_unique_id, test_type, status, recorded_at}]. `wanted`: the tests that must be among them. #}
{% macro _judge(item, outcomes, wanted, has_tests, present, settings, options) %}
    {% set by_test = {} %}
    {% for outcome in outcomes %}
        {% do by_test.update({outcome.test_unique_id: outcome}) %}
    {% endfor %}
    {% set counts = namespace(passed=0, warned=0) %}
    {% set age = dbt_cicd_toolkit._config('evidence_max_age_hours') %}
    {% set age = dbt_cicd_toolkit._number_argument('_config', 'the variable dbt_cicd_toolkit_evidence_max_age_hours', age) if age is not none else 0 %}
    {% set oldest = dbt_cicd_toolkit._time_before(options.now, hours=age) if age else '' %}
    {% set again = 'Run `dbt build --select ' ~ item.model ~ ' --target ' ~ settings.target ~ '`.' %}
    {% set missing = [] %}
    {% set stale = [] %}
    {% for test in wanted if test not in by_test and test not in options.failures %}
        {% do missing.append(test.split('.')[2]) %}
    {% endfor %}
    {% if missing %}
        {% do item.reasons.append(('tests ' if missing | length > 1 else 'test ') ~ missing | join(', ') ~ (' have' if missing | length > 1 else ' has')
            ~ ' no result recorded for this code in target ' ~ settings.target ~ '. ' ~ again) %}
    {% endif %}
    {% for test, outcome in by_test.items() %}
        {% set name = test.split('.')[-1] if outcome.test_type == 'unit' else test.split('.')[2] %}
        {% if outcome.status not in ['pass', 'warn', 'success'] %}
            {% do item.reasons.append(('unit test ' if outcome.test_type == 'unit' else 'test ') ~ name ~ ' ' ~ {'fail': 'failed', 'error': 'ended in an error', 'skipped': 'was skipped'}.get(outcome.status, outcome.status)
                ~ ' at ' ~ outcome.recorded_at[:19] ~ ' UTC' ~ (': ' ~ outcome.message if outcome.message else '') ~ '. Mend it. ' ~ again) %}
        {% elif test in options.failures %}
            {% do item.reasons.append('test ' ~ name ~ ' failed in the run just before, which could not be recorded' ~ dbt_cicd_toolkit._said(options, test) ~ '. Mend it. ' ~ again) %}
        {% elif outcome.recorded_at < oldest and outcome.test_type == 'unit' %}
            {# As good as absent, which does not refuse. #}
            {% do stale.append(test) %}
        {% elif outcome.recorded_at < oldest %}
            {% do item.reasons.append('test ' ~ name ~ ' passed at ' ~ outcome.recorded_at[:19] ~ ' UTC, more than dbt_cicd_toolkit_evidence_max_age_hours (' ~ age ~ ') ago. ' ~ again) %}
        {% elif outcome.status == 'warn' %}
            {% set counts.warned = counts.warned + 1 %}
        {% else %}
            {% set counts.passed = counts.passed + 1 %}
        {% endif %}
    {% endfor %}
    {# dbt v2 reports an ephemeral model as skipped, though it has nothing to build. #}
    {% if item.unique_id in options.failures and graph.nodes[item.unique_id].config.materialized != 'ephemeral' %}
        {% do item.reasons.append('its build failed in the run just before' ~ dbt_cicd_toolkit._said(options, item.unique_id) ~ '. Mend it. ' ~ again) %}
    {% endif %}
    {% set unit_tests = 'unit_test.' ~ item.unique_id.split('.')[1:3] | join('.') ~ '.' %}
    {% for test in options.failures if (test in wanted or test.startswith(unit_tests)) and test not in by_test %}
        {% do item.reasons.append('test ' ~ test.split('.')[-1 if test.startswith(unit_tests) else 2] ~ ' failed in the run just before, which could not be recorded'
            ~ dbt_cicd_toolkit._said(options, test) ~ '. Mend it. ' ~ again) %}
    {% endfor %}
    {% if not by_test and not present and has_tests %}
        {% do item.reasons.append('no test result is recorded for the code of version ' ~ item.version ~ ' in target ' ~ settings.target ~ '. Build and test that code again, or say require_tests: false.') %}
    {% elif not by_test and not wanted %}
        {% set text = 'no test guards it' ~ ('' if not present or item.unique_id in options.built else ', and no build of this code is recorded in target ' ~ settings.target) %}
        {% if dbt_cicd_toolkit._config('untested_models') == 'refuse' %}
            {% do item.reasons.append(text ~ ", and dbt_cicd_toolkit_untested_models is 'refuse'. Give it a test, and build it.") %}
        {% else %}
            {% do item.warnings.append(text) %}
        {% endif %}
    {% endif %}
    {% set parts = [] %}
    {% for number, word in [[counts.passed, 'passed'], [counts.warned, 'warned'], [by_test | length - counts.passed - counts.warned - stale | length, 'refused'],
        [missing | length, 'missing']] if number %}
        {% do parts.append(number ~ ' ' ~ word) %}
    {% endfor %}
    {% do item.update({'evidence': parts | join(', ') or 'no tests'}) %}
{% endmacro %}

{# ': message' of a failure the caller saw, or ''. #}
{% macro _said(options, unique_id) %}
    {{ return(': ' ~ options.failures[unique_id] if options.failures[unique_id] else '') }}
{% endmacro %}

{# The newest outcome that counts, per test. In: `asked` [{unique_id, checksum, target, relation_name or none, test_unique_id, test_checksum}], and
   `open` [{unique_id, checksum, target, relation_name or none, test_type}], which asks for whatever tests there are.
   Out: {unique_id: [{test_unique_id, test_type, status, message, recorded_at}]}. One query. #}
{% macro _read_outcomes(asked, open) %}
    {% set results = dbt_cicd_toolkit._table('dbt_cicd_test_results') %}
    {% set place = {'unique_id': 'text', 'checksum': 'text', 'target': 'text', 'relation_name': 'text', 'schema_name': 'text', 'test_type': 'text'} %}
    {# Results over an empty or sampled relation, or over another environment's, say nothing. #}
    {% set counts = "t.unique_id = m.unique_id and t.checksum = m.checksum and t.target = m.target and t.flags in ('', 'full_refresh')
        and (m.relation_name is null or t.relation_name = m.relation_name)
        and (m.schema_name is null or t.relation_name = '' or substring(t.relation_name, 1, length(m.schema_name) + 1) = m.schema_name || '.')" %}
    {% set columns = "t.unique_id, t.test_unique_id, t.test_type, t.status, t.message, t.recorded_at" %}
    {% set parts = [] %}
    {% if asked %}
        {% do parts.append("select t.* from " ~ dbt_cicd_toolkit._rows(asked, dbt_cicd_toolkit._merged([place, {'test_unique_id': 'text', 'test_checksum': 'text'}])) ~ " as m
            join lateral (select " ~ columns ~ " from " ~ results ~ " t where " ~ counts ~ " and t.test_type = 'data' and t.test_unique_id = m.test_unique_id
                and t.test_checksum = m.test_checksum order by t.recorded_at desc, t.id desc limit 1) t on true") %}
    {% endif %}
    {% if open %}
        {% do parts.append("select * from (select distinct on (t.unique_id, t.test_unique_id) " ~ columns ~ "
            from " ~ dbt_cicd_toolkit._rows(open, place) ~ " as m join " ~ results ~ " t on " ~ counts ~ " and t.test_type = m.test_type
            order by t.unique_id, t.test_unique_id, t.recorded_at desc, t.id desc) as newest") %}
    {% endif %}
    {% set found = {} %}
    {% if parts %}
        {% for row in dbt_cicd_toolkit._read("select unique_id, test_unique_id, test_type, status, message, "
                ~ dbt_cicd_toolkit._timestamp_text('recorded_at', exact=true) ~ " as recorded_at from (" ~ parts | join(' union all ') ~ ") as outcomes") %}
            {% do found.setdefault(row.unique_id, []).append(row) %}
        {% endfor %}
    {% endif %}
    {{ return(found) }}
{% endmacro %}
