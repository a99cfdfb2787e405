{# The on-run-end hook: what was built and what the tests said, with the checksum of the code. It returns no SQL and must never
   raise, since a raising hook fails a dbt run that was fine: so it looks at the ledger and the rights before it writes. #}
{% macro _record_evidence(results) %}
    {% if not execute or results is not defined or not results
        or invocation_args_dict.which not in ['run', 'build', 'test', 'retry'] or not dbt_cicd_toolkit._config('record_evidence') %}
        {{ return('') }}
    {% endif %}
    {% set evidence = dbt_cicd_toolkit._evidence_rows(results) %}
    {% if not evidence.builds and not evidence.tests %}
        {{ return('') }}
    {% endif %}
    {% set problem = dbt_cicd_toolkit._make_ready_for_evidence() %}
    {% if problem %}
        {% do log('dbt_cicd_toolkit: this run was not recorded as evidence: ' ~ problem, info=true) %}
        {{ return('') }}
    {% endif %}
    {% set now = dbt_cicd_toolkit._read('select ' ~ dbt_cicd_toolkit._timestamp_text(dbt_cicd_toolkit._now(), exact=true) ~ ' as now')[0].now %}
    {% set statements = [] %}
    {% if evidence.builds %}
        {% do statements.append(dbt_cicd_toolkit._append_sql('dbt_cicd_builds', evidence.builds, now,
            resolve={'relation_id': dbt_cicd_toolkit._relation_id('r.relation_name')})) %}
    {% endif %}
    {% if evidence.tests %}
        {% do dbt_cicd_toolkit._flag_ephemeral(evidence) %}
        {# A test ran on the relation, so it speaks of the code of the newest successful build there, and of no other; and of none when that build's
           relation has been replaced since by what was not recorded: a killed or failed run, a clone, a deferral. A unit test and the
           test of an ephemeral model compile the present code themselves: those rows bring their checksum along. #}
        {% set newest = "(select case when b.relation_id is null or b.relation_id = coalesce(" ~ dbt_cicd_toolkit._relation_id('r.relation_name') ~ ", '') then b.{} end from " ~ dbt_cicd_toolkit._table('dbt_cicd_builds') ~ " b where b.unique_id = r.unique_id and b.target = r.target
            and b.relation_name = r.relation_name and b.status = 'success' order by b.recorded_at desc, b.id desc limit 1)" %}
        {% do statements.append(dbt_cicd_toolkit._append_sql('dbt_cicd_test_results', evidence.tests, now, resolve={
            'checksum': 'coalesce(r.checksum, ' ~ newest | replace('{}', 'checksum') ~ ')',
            'flags': "coalesce(r.flags, " ~ newest | replace('{}', 'flags') ~ ", '')"})) %}
    {% endif %}
    {% do dbt_cicd_toolkit._commit(statements) %}
    {{ return('') }}
{% endmacro %}

{# SQL: which relation stands under a name now, as text; another one after it was replaced. Null where the warehouse has no such thing. #}
{% macro _relation_id(expression) %}
    {{ return(adapter.dispatch('_relation_id', 'dbt_cicd_toolkit')(expression)) }}
{% endmacro %}

{% macro default___relation_id(expression) %}
    {{ return('cast(null as ' ~ dbt_cicd_toolkit._type('text') ~ ')') }}
{% endmacro %}

{% macro postgres___relation_id(expression) %}
    {{ return("cast(cast(to_regclass(nullif(" ~ expression ~ ", '')) as oid) as text)") }}
{% endmacro %}

{# Creates the ledger when it is missing and this user may. Out: why nothing can be recorded, or none. #}
{% macro _make_ready_for_evidence() %}
    {% set state = dbt_cicd_toolkit._ledger_state() %}
    {% set problem = dbt_cicd_toolkit._evidence_problem(state) %}
    {% if problem or not state.missing %}
        {{ return(problem) }}
    {% endif %}
    {% if not dbt_cicd_toolkit._try_lock() %}
        {{ return(dbt_cicd_toolkit._locked()) }}
    {% endif %}
    {% do dbt_cicd_toolkit._create_ledger_locked() %}
    {% do dbt_cicd_toolkit._unlock() %}
    {# Another user may have made it meanwhile, and granted nothing. #}
    {{ return(dbt_cicd_toolkit._evidence_problem(dbt_cicd_toolkit._ledger_state())) }}
{% endmacro %}

{% macro _evidence_problem(state) %}
    {% set newer = dbt_cicd_toolkit._major_problem(state) %}
    {% if newer %}
        {{ return(newer) }}
    {% elif state.missing and not (state.creatable and dbt_cicd_toolkit._config('create_ledger')) %}
        {{ return(dbt_cicd_toolkit._cannot_create(state)) }}
    {% elif state.tables and not (state.readable and state.insertable) %}
        {{ return(dbt_cicd_toolkit._no_rights('write')) }}
    {% endif %}
    {{ return(none) }}
{% endmacro %}

{# In: dbt's results. Out: {builds: [row], tests: [row]}; a singular test over three models gives three rows. #}
{% macro _evidence_rows(results) %}
    {% set builds = [] %}
    {% set tests = [] %}
    {% set checksums = {} %}
    {% set run_flags = dbt_cicd_toolkit._run_flags() %}
    {% set built_now = [] %}
    {% set unbuilt = [] %}
    {% for result in results if result.node.resource_type == 'model' %}
        {% do (built_now if result.status | string == 'success' else unbuilt).append(result.node.unique_id) %}
    {% endfor %}
    {% for result in results %}
        {% set unique_id = result.node.unique_id %}
        {% set status = result.status | string | lower %}
        {# On one line and without a terminal's colours: it is printed again in reports. #}
        {% set message = modules.re.sub('\\s+', ' ', modules.re.sub('\x1b\\[[0-9;]*m', '', result.message | string))[:2000] if result.message else none %}
        {% if result.node.resource_type == 'model' and unique_id in graph.nodes %}
            {% set node = graph.nodes[unique_id] %}
            {% do builds.append({'unique_id': unique_id, 'name': dbt_cicd_toolkit._display_name(unique_id), 'checksum': dbt_cicd_toolkit._checksum(node), 'status': status,
                'target': target.name, 'relation_name': node.relation_name or '', 'flags': run_flags, 'message': message}) %}
        {% elif result.node.resource_type in ['test', 'unit_test'] %}
            {% set unit = result.node.resource_type == 'unit_test' %}
            {% set guarded = [result.node.tested_node_unique_id] if unit else dbt_cicd_toolkit._guarded_models(graph.nodes.get(unique_id, {})) %}
            {% for model_id in guarded if model_id in graph.nodes %}
                {% set node = graph.nodes[model_id] %}
                {# Skipped because this code did not build: that says nothing of the code the relation still has. #}
                {% set in_vain = status == 'skipped' and model_id in unbuilt %}
                {% set ephemeral = node.config.materialized == 'ephemeral' %}
                {% set by_code = unit or ephemeral or in_vain %}
                {% set deferred = 'deferred' if invocation_args_dict.favor_state and model_id not in built_now and not unit else none %}
                {% if by_code and model_id not in checksums %}
                    {% do checksums.update({model_id: dbt_cicd_toolkit._checksum(node)}) %}
                {% endif %}
                {% do tests.append({'unique_id': model_id, 'name': dbt_cicd_toolkit._display_name(model_id), 'test_unique_id': unique_id,
                    'test_type': 'unit' if unit else 'data', 'test_checksum': none if unit else dbt_cicd_toolkit._test_checksum(graph.nodes[unique_id]),
                    'checksum': checksums[model_id] if by_code else none, 'status': status, 'failures': result.failures if result.failures is number else none,
                    'target': target.name, 'relation_name': node.relation_name or '', 'flags': deferred or ('' if unit else run_flags if by_code else none), 'message': message,
                    'reads': dbt_cicd_toolkit._relations_behind(node) if ephemeral and not unit else []}) %}
            {% endfor %}
        {% endif %}
    {% endfor %}
    {{ return({'builds': builds, 'tests': tests}) }}
{% endmacro %}

{# How this run built: '', or the words of empty, sample, full_refresh that hold. dbt v2 does not tell --sample but in its command line. #}
{% macro _run_flags() %}
    {% set words = [] %}
    {% set command = ' ' ~ invocation_args_dict.invocation_command ~ ' ' %}
    {% if invocation_args_dict.empty or flags.EMPTY %}
        {% do words.append('empty') %}
    {% endif %}
    {% if invocation_args_dict.sample or flags.SAMPLE or (not dbt_version.startswith('1.') and (' --sample ' in command or ' --sample=' in command)) %}
        {% do words.append('sample') %}
    {% endif %}
    {% if invocation_args_dict.full_refresh or flags.FULL_REFRESH %}
        {% do words.append('full_refresh') %}
    {% endif %}
    {{ return(words | join(',')) }}
{% endmacro %}

{# The models a data test guards: the one it is attached to, or for a singular test every model it reads. #}
{% macro _guarded_models(test) %}
    {% if test.get('attached_node') %}
        {{ return([test.attached_node]) }}
    {% endif %}
    {{ return(dbt_cicd_toolkit._only_models((test.get('depends_on') or {}).get('nodes', []))) }}
{% endmacro %}

{% macro _only_models(unique_ids) %}
    {% set models = [] %}
    {% for unique_id in unique_ids if unique_id.startswith('model.') %}
        {% do models.append(unique_id) %}
    {% endfor %}
    {{ return(models) }}
{% endmacro %}

{# The checksum of a data test. A generic test's arguments are in its unique_id already; its raw_code is generated, and not the
   same on both engines, so only a singular test's code counts, and of both what decides between pass and fail. #}
{% macro _test_checksum(test) %}
    {% set config = test.get('config') or {} %}
    {% set parts = ['' if test.get('test_metadata') else test.raw_code | string | replace('\r\n', '\n') | replace('\r', '\n') | trim] %}
    {% for name in ['severity', 'where', 'limit', 'fail_calc', 'warn_if', 'error_if'] %}
        {% do parts.append(name ~ '=' ~ (config.get(name) | string | lower if config.get(name) is not none else '')) %}
    {% endfor %}
    {{ return(local_md5(parts | join('\n'))) }}
{% endmacro %}

{# The models with a relation that an ephemeral one reads, through other ephemeral ones. #}
{% macro _relations_behind(node) %}
    {% set found = [] %}
    {% for parent in dbt_cicd_toolkit._only_models(node.depends_on.nodes) if parent in graph.nodes %}
        {% do found.extend(dbt_cicd_toolkit._relations_behind(graph.nodes[parent]) if graph.nodes[parent].config.materialized == 'ephemeral' else [parent]) %}
    {% endfor %}
    {{ return(found | unique | list) }}
{% endmacro %}

{# The test of an ephemeral model passes over empty or sampled relations as that of a table does over its own: it takes their flags. #}
{% macro _flag_ephemeral(evidence) %}
    {% set built_now = evidence.builds | selectattr('status', 'equalto', 'success') | map(attribute='unique_id') | list %}
    {% set wanted = [] %}
    {% for test in evidence.tests %}
        {% for unique_id in test.reads or [] if unique_id not in built_now %}
            {% do wanted.append({'unique_id': unique_id, 'target': target.name, 'relation_name': graph.nodes[unique_id].relation_name or ''}) %}
        {% endfor %}
    {% endfor %}
    {% set builds = dbt_cicd_toolkit._read_builds(wanted | unique(attribute='unique_id') | list) if wanted else {} %}
    {% for test in evidence.tests %}
        {% for unique_id in test.pop('reads') if unique_id in builds and builds[unique_id].flags not in ['', 'full_refresh'] %}
            {% do test.update({'flags': builds[unique_id].flags}) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}
