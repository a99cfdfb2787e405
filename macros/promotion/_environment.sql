{# What dbt_cicd_toolkit_environments says of an environment, with the defaults filled in.
   Out: {target, promote_from, min_days_in_source, require_tests (none: the call decides), breaking}. #}
{% macro _environment(where, environment) %}
    {% set environments = dbt_cicd_toolkit._config('environments') or {} %}
    {% if environments is not mapping %}
        {% do dbt_cicd_toolkit._invalid(where, 'the variable dbt_cicd_toolkit_environments is no mapping of environments to their settings. See docs/environment_promotion.md.') %}
    {% endif %}
    {% set settings = {'target': target.name, 'promote_from': none, 'min_days_in_source': 0, 'require_tests': none, 'breaking': 'allow'} %}
    {% set given = environments.get(environment) or {} %}
    {% if given is not mapping %}
        {% do dbt_cicd_toolkit._invalid(where, "dbt_cicd_toolkit_environments: '" ~ environment ~ "' is '" ~ given ~ "', not a mapping of settings. Allowed: " ~ settings.keys() | join(', ') ~ '.') %}
    {% endif %}
    {% for name, value in given.items() %}
        {% if name not in settings %}
            {% do dbt_cicd_toolkit._invalid(where, "dbt_cicd_toolkit_environments: '" ~ environment ~ "' has the unknown setting '" ~ name ~ "'. Allowed: " ~ settings.keys() | join(', ') ~ '.') %}
        {% endif %}
        {% do settings.update({name: value}) %}
    {% endfor %}
    {% if settings.breaking not in ['allow', 'approve', 'refuse'] %}
        {% do dbt_cicd_toolkit._invalid(where, "dbt_cicd_toolkit_environments: breaking of '" ~ environment ~ "' is '" ~ settings.breaking ~ "'. Allowed: allow, approve, refuse.") %}
    {% endif %}
    {% do settings.update({'min_days_in_source': dbt_cicd_toolkit._number_argument(where, 'min_days_in_source', settings.min_days_in_source)}) %}
    {% if settings.min_days_in_source and not settings.promote_from %}
        {% do dbt_cicd_toolkit._invalid(where, "dbt_cicd_toolkit_environments: '" ~ environment ~ "' has min_days_in_source and no promote_from. Name the environment that models come from.") %}
    {% endif %}
    {% if settings.require_tests is not none %}
        {% do settings.update({'require_tests': dbt_cicd_toolkit._boolean_argument(where, 'require_tests', settings.require_tests)}) %}
    {% endif %}
    {{ return(settings) }}
{% endmacro %}

{# A time some days or hours before another, to the second, as text; such texts sort as the times do. Farther back than dates go is long ago.
   dbt v2 reads %f as a number of nanoseconds and drops the fraction of timedelta's days, hence a fraction that stays text, and whole seconds. #}
{% macro _time_before(moment, days=0, hours=0) %}
    {% set whole = modules.datetime.datetime.strptime(moment[:19], '%Y-%m-%d %H:%M:%S') %}
    {% set seconds = [(days * 24 + hours) * 3600, 700000 * 86400] | min | round | int %}
    {{ return((whole - modules.datetime.timedelta(seconds=seconds)).isoformat()[:19] | replace('T', ' ') ~ moment[19:]) }}
{% endmacro %}
