{# Who is doing this: the variable, else the CI's actor, else none, and then the ledger takes the database user. #}
{% macro _actor() %}
    {% set named = dbt_cicd_toolkit._config('actor') %}
    {% if named %}
        {{ return(named | string) }}
    {% endif %}
    {% for name in ['GITHUB_ACTOR', 'GITLAB_USER_LOGIN', 'BUILDKITE_BUILD_CREATOR', 'CIRCLE_USERNAME', 'BUILD_REQUESTEDFOR', 'BITBUCKET_STEP_TRIGGERER_UUID'] %}
        {% if env_var(name, '') %}
            {{ return(env_var(name)) }}
        {% endif %}
    {% endfor %}
    {{ return(none) }}
{% endmacro %}

{# The commit the project is at: the variable, what `dbt-cicd` read from git, or what the CI says; else none. #}
{% macro _git_commit() %}
    {% set named = dbt_cicd_toolkit._config('git_commit') %}
    {% if named %}
        {{ return(named | string) }}
    {% endif %}
    {% for name in ['DBT_CICD_GIT_COMMIT', 'GITHUB_SHA', 'CI_COMMIT_SHA', 'BUILDKITE_COMMIT', 'CIRCLE_SHA1', 'BUILD_SOURCEVERSION', 'BITBUCKET_COMMIT'] %}
        {% if env_var(name, '') %}
            {{ return(env_var(name)) }}
        {% endif %}
    {% endfor %}
    {{ return(none) }}
{% endmacro %}
