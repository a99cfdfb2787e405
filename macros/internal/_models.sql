{# The models of the project under every name a user may write: `customers` (for a dbt-versioned model its latest
   version, as ref does), `customers.v2`, `package.customers`, `package.customers.v2` and the unique_id.
   Out: {names: {name: [unique_id]}, others: {name: resource type}}. Built once per operation, and without a macro call
   per model, which would cost more than the rest. #}
{% macro _model_index() %}
    {% set names = {} %}
    {% set others = {} %}
    {% for node in graph.nodes.values() %}
        {% if node.resource_type == 'model' %}
            {% set version = node.get('version') %}
            {% set versioned = version is defined and version is not none %}
            {% set full = node.name ~ '.v' ~ version if versioned else node.name %}
            {% set own = [node.unique_id, full, node.package_name ~ '.' ~ full] %}
            {% if versioned and version | string == node.get('latest_version') | string %}
                {% set own = own + [node.name, node.package_name ~ '.' ~ node.name] %}
            {% endif %}
            {% for name in own %}
                {% do names.setdefault(name, []).append(node.unique_id) %}
            {% endfor %}
        {% elif node.resource_type in ['seed', 'snapshot', 'analysis', 'test'] %}
            {% do others.update({node.name: node.resource_type, node.unique_id: node.resource_type}) %}
        {% endif %}
    {% endfor %}
    {% for source in graph.sources.values() %}
        {% do others.update({source.source_name ~ '.' ~ source.name: 'source', source.unique_id: 'source'}) %}
        {% do others.setdefault(source.name, 'source') %}
    {% endfor %}
    {{ return({'names': names, 'others': others}) }}
{% endmacro %}

{# The name the ledger, the reports and the mirror's files use: `customers`, `customers.v2`; with its package in front when
   it is not the root project's; a job's begins with `job.`. From the unique_id alone, so that it also holds for models that are gone. #}
{% macro _display_name(unique_id) %}
    {% set parts = unique_id.split('.') %}
    {{ return(('job.' if parts[0] == 'job' else '') ~ (parts[2:] if parts[1] == project_name else parts[1:]) | join('.')) }}
{% endmacro %}

{# In: a name as the user wrote it. Out: {unique_id, problem}: one of the two is none. #}
{% macro _resolve(index, name) %}
    {% set found = index.names.get(name, []) %}
    {% if found | length == 1 %}
        {{ return({'unique_id': found[0], 'problem': none}) }}
    {% endif %}
    {% if found %}
        {% set candidates = [] %}
        {% for unique_id in found %}
            {% do candidates.append(unique_id.split('.')[1:] | join('.')) %}
        {% endfor %}
        {{ return({'unique_id': none, 'problem': "model '" ~ name ~ "' is ambiguous. Write one of: " ~ candidates | sort | join(', ') ~ '.'}) }}
    {% endif %}
    {% if name in index.others %}
        {{ return({'unique_id': none, 'problem': "'" ~ name ~ "' is a " ~ index.others[name]
            ~ '. Only models have versions. Name a model; `dbt ls --resource-type model` lists them.'}) }}
    {% endif %}
    {% set nearest = dbt_cicd_toolkit._nearest(name, index.names.keys() | list) %}
    {{ return({'unique_id': none, 'problem': "model '" ~ name[:200] ~ "' is not in this project. "
        ~ ('The nearest: ' ~ nearest | join(', ') ~ '.' if nearest else '`dbt ls --resource-type model` lists its models.')}) }}
{% endmacro %}

{# The unique_id of a model of the project, or an error. #}
{% macro _model(where, index, name) %}
    {% set name = dbt_cicd_toolkit._text_argument(where, 'model_name', name, required=true) | trim %}
    {% set resolved = dbt_cicd_toolkit._resolve(index, name) %}
    {% if resolved.problem %}
        {% do dbt_cicd_toolkit._invalid(where, resolved.problem) %}
    {% endif %}
    {{ return(resolved.unique_id) }}
{% endmacro %}

{# The same for readers, which also answer for models that only the ledger knows. #}
{% macro _model_or_past(where, index, name, ledger) %}
    {% set name = dbt_cicd_toolkit._text_argument(where, 'model_name', name, required=true) | trim %}
    {% set resolved = dbt_cicd_toolkit._resolve(index, name) %}
    {% if resolved.unique_id %}
        {{ return(resolved.unique_id) }}
    {% endif %}
    {% if ledger and name not in index.names and name not in index.others %}
        {% set found = dbt_cicd_toolkit._read_past_models(ledger, name) %}
        {% if found | length == 1 %}
            {{ return(found[0]) }}
        {% elif found %}
            {% do dbt_cicd_toolkit._invalid(where, "model '" ~ name ~ "' is in the ledger more than once and no longer in the project. Write one of: "
                ~ found | join(', ') ~ '.') %}
        {% endif %}
    {% endif %}
    {% do dbt_cicd_toolkit._invalid(where, resolved.problem) %}
{% endmacro %}

{# At most three names that share many pairs of letters with what was written (Dice's coefficient over bigrams). #}
{% macro _nearest(name, names) %}
    {% set wanted = dbt_cicd_toolkit._bigrams(name[:100]) %}
    {% set scored = [] %}
    {% for candidate in names %}
        {% if not candidate.startswith('model.') %}
            {% set pairs = dbt_cicd_toolkit._bigrams(candidate) %}
            {% set shared = wanted | select('in', pairs) | list | length %}
            {% set score = 200 * shared // (wanted | length + pairs | length) %}
            {% if score >= 50 %}
                {% do scored.append({'order': ('000' ~ (200 - score))[-3:] ~ candidate, 'name': candidate}) %}
            {% endif %}
        {% endif %}
    {% endfor %}
    {{ return((scored | sort(attribute='order') | map(attribute='name') | list)[:3]) }}
{% endmacro %}

{% macro _bigrams(text) %}
    {% set text = ' ' ~ text | lower ~ ' ' %}
    {% set pairs = [] %}
    {% for i in range(text | length - 1) %}
        {% do pairs.append(text[i:i + 2]) %}
    {% endfor %}
    {{ return(pairs) }}
{% endmacro %}
