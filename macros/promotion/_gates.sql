{# The gates. Each looks at one item of a plan and appends to its `reasons` (refuse the whole promotion) or `warnings`. A reason names the
   rule and the next command; the model's name stands before it in every report. A new gate goes here, and is called in _plan(). #}

{# A version must stand for the code: the promotion records what was registered, not what happens to lie in the checkout. #}
{% macro _gate_registered(item, fact, pinned) %}
    {% if pinned and not fact.checksum %}
        {% do item.reasons.append(dbt_cicd_toolkit._unregistered(item.unique_id, item.version, fact | length > 0)) %}
    {% elif not pinned and not item.version %}
        {% set command = "dbt run-operation register_changed_models --args '{models: " ~ item.model ~ "}'" %}
        {% if fact.registered %}
            {% do item.reasons.append('the present code is not registered, though older versions are. Build it, then register it first: ' ~ command ~ '.') %}
        {% elif dbt_cicd_toolkit._config('require_registered') %}
            {% do item.reasons.append('it has no registered version, and dbt_cicd_toolkit_require_registered is true. Build it, then register it first: ' ~ command ~ '.') %}
        {% else %}
            {% do item.warnings.append('it has no registered version and is promoted as unversioned') %}
        {% endif %}
    {% endif %}
{% endmacro %}

{# promote_from and min_days_in_source: the same version must be in the source environment now, for long enough. What was here before may
   come back (a rollback) without being in the source still. #}
{% macro _gate_source(item, fact, settings, options) %}
    {% set source = settings.promote_from %}
    {% if not source or fact.was_here or item.action == 'unchanged' %}
        {{ return(none) }}
    {% endif %}
    {% if not fact.source_since or fact.source_version != item.version or fact.source_checksum != item.checksum %}
        {% do item.reasons.append(source ~ (' has ' ~ ('version ' ~ fact.source_version if fact.source_version else 'other, unversioned code')
            ~ ', not ' ~ (item.version or 'this code') if fact.source_since else ' never had it') ~ '. Promote it there first: '
            ~ (item.get('first_there') or "dbt run-operation promote_to_environment --args '{target_environment: " ~ source ~ ', models: ' ~ item.model ~ "}'") ~ '.') %}
    {% elif fact.source_since > dbt_cicd_toolkit._time_before(options.now, days=settings.min_days_in_source) %}
        {% do item.reasons.append('it is in ' ~ source ~ ' since ' ~ fact.source_since[:19] ~ ' UTC; min_days_in_source is ' ~ settings.min_days_in_source ~ '. Promote it later.') %}
    {% endif %}
{% endmacro %}

{# breaking: allow | approve | refuse, over every version between what is there and what comes, in either direction. #}
{% macro _gate_breaking(item, fact, environment, settings, options) %}
    {% if not fact.is_breaking or item.action == 'unchanged' %}
        {{ return(none) }}
    {% endif %}
    {% set step = (item.from_version ~ ' to ' ~ item.version if item.from_version else 'version ' ~ item.version) ~ ' is breaking' %}
    {% if settings.breaking == 'refuse' %}
        {% do item.reasons.append(step ~ ", and breaking is 'refuse' for " ~ environment ~ '. ' ~ item.get('instead', 'Give readers a new model or a dbt model version instead')
            ~ ', or change dbt_cicd_toolkit_environments.') %}
    {% elif settings.breaking == 'approve' and not options.approved_by %}
        {% do item.reasons.append(step ~ ', and ' ~ environment ~ ' takes that only with an approval. Say who approved: approved_by in --args, or --approved-by.') %}
    {% else %}
        {% do item.warnings.append(step ~ (' (approved by ' ~ options.approved_by ~ ')' if options.approved_by else '')) %}
    {% endif %}
{% endmacro %}

{# A parent the environment never had: the model may read what is not there. Known only of the present code. #}
{% macro _warn_of_parents(items, environment, options) %}
    {% set promoted = items | map(attribute='unique_id') | list %}
    {% set parents = [] %}
    {% for item in items if item.unique_id in graph.nodes %}
        {% for parent in graph.nodes[item.unique_id].depends_on.nodes if parent.startswith('model.') and parent not in promoted %}
            {% do parents.append(parent) %}
        {% endfor %}
    {% endfor %}
    {% set parents = parents | unique | list %}
    {% set there = dbt_cicd_toolkit._read_deployed(parents, [environment]) | map(attribute='unique_id') | list if parents and options.ledger else [] %}
    {% for item in items if item.unique_id in graph.nodes %}
        {% for parent in graph.nodes[item.unique_id].depends_on.nodes if parent in parents and parent not in there %}
            {% do item.warnings.append('its parent ' ~ dbt_cicd_toolkit._display_name(parent) ~ ' was never promoted to ' ~ environment) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}

{# A job reads and writes models: those that are models of this project must be in the environment. In: names of models or relations, or none where the
   job does not say. A source, a seed or a table that dbt does not build is nobody's to promote. #}
{% macro _gate_models(item, environment, reads, writes, ledger) %}
    {% set index = dbt_cicd_toolkit._model_index().names %}
    {% set relations = {} %}
    {% for node in graph.nodes.values() if node.resource_type == 'model' %}
        {% do relations.update({(node.get('schema') ~ '.' ~ (node.get('alias') or node.name)) | lower: node.unique_id}) %}
    {% endfor %}
    {% set needed = {} %}
    {% for word, names in [['reads', reads], ['writes', writes]] %}
        {% if names is none %}
            {% do item.warnings.append('it does not say what it ' ~ word ~ ', so those models were not looked for in ' ~ environment) %}
        {% endif %}
        {% for name in names or [] %}
            {% set found = index.get(name) or ([relations[name | lower]] if name | lower in relations else []) %}
            {% if found | length > 1 %}
                {% do item.reasons.append(dbt_cicd_toolkit._resolve({'names': index, 'others': {}}, name).problem) %}
            {% elif found %}
                {% do needed.setdefault(found[0], []).append(word) %}
            {% endif %}
        {% endfor %}
    {% endfor %}
    {% set there = dbt_cicd_toolkit._read_deployed(needed.keys() | list, [environment]) | map(attribute='unique_id') | list if needed and ledger else [] %}
    {% for unique_id, words in needed.items() if unique_id not in there %}
        {% set model = dbt_cicd_toolkit._display_name(unique_id) %}
        {% do item.reasons.append('it ' ~ words | unique | join(' and ') ~ ' ' ~ model ~ ', which is not in ' ~ environment
            ~ ". Promote that first: dbt run-operation promote_to_environment --args '{target_environment: " ~ environment ~ ', models: ' ~ model ~ "}'.") %}
    {% endfor %}
{% endmacro %}
