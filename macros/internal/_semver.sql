{# SemVer 2.0.0 (https://semver.org/spec/v2.0.0.html), the same rules as src/dbt_cicd_toolkit/versions.py; one set of
   vectors, tests/vectors/semver.json, holds the two together. #}

{# In: a text. Out: none when it is no version, else {version, core: [major, minor, patch] as texts, pre: [identifiers], build}. #}
{% macro _semver_parse(version) %}
    {% set number = '(0|[1-9][0-9]*)' %}
    {% set identifier = '(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)' %}
    {% set pattern = '^' ~ number ~ '[.]' ~ number ~ '[.]' ~ number
        ~ '(?:-(' ~ identifier ~ '(?:[.]' ~ identifier ~ ')*))?'
        ~ '(?:[+]([0-9A-Za-z-]+(?:[.][0-9A-Za-z-]+)*))?$' %}
    {% if version is not string or version | length > 255 or '\n' in version %}
        {{ return(none) }}
    {% endif %}
    {% set m = modules.re.match(pattern, version) %}
    {% if m is none or not m %}
        {{ return(none) }}
    {% endif %}
    {{ return({
        'version': version,
        'core': [m.group(1), m.group(2), m.group(3)],
        'pre': m.group(4).split('.') if m.group(4) else [],
        'build': m.group(5) or '',
    }) }}
{% endmacro %}

{# The version, parsed, or an error that says what was meant. #}
{% macro _semver(where, version, name='version') %}
    {% set text = dbt_cicd_toolkit._text_argument(where, name, version, required=true) %}
    {% set parsed = dbt_cicd_toolkit._semver_parse(text) %}
    {% if parsed is none %}
        {% set hint = dbt_cicd_toolkit._semver_hint(text) %}
        {% do dbt_cicd_toolkit._invalid(where, name ~ " '" ~ text[:300] ~ "' is no SemVer 2.0.0 version. "
            ~ ('Write ' ~ hint ~ '.' if hint else 'Allowed: MAJOR.MINOR.PATCH, at most 255 characters, for example 1.2.0 or 2.0.0-rc.1.')) %}
    {% endif %}
    {{ return(parsed) }}
{% endmacro %}

{# What was meant by v1.0.0, 1.0, 01.0.0, 1.0.0rc1: a valid version, or none. #}
{% macro _semver_hint(text) %}
    {% set m = modules.re.match('^[vV=]*\\s*([0-9]+)(?:[.]([0-9]+))?(?:[.]([0-9]+))?([^.0-9].*)?$', text | trim) %}
    {% if '\n' in text | trim or m is none or not m %}
        {{ return(none) }}
    {% endif %}
    {% set numbers = [] %}
    {% for group in [m.group(1), m.group(2), m.group(3)] %}
        {% do numbers.append((group or '0').lstrip('0') or '0') %}
    {% endfor %}
    {% set rest = m.group(4) or '' %}
    {% set pre = rest.split('+')[0] %}
    {% set build = rest[pre | length:] %}
    {% set identifiers = [] %}
    {% for identifier in ('-' ~ pre if modules.re.match('^[A-Za-z]', pre) else pre).split('.') %}
        {% set sign = '-' if identifier[:1] == '-' else '' %}
        {% set digits = identifier[sign | length:] %}
        {% do identifiers.append(sign ~ (digits.lstrip('0') or '0') if modules.re.match('^[0-9]+$', digits) else identifier) %}
    {% endfor %}
    {% set hint = numbers | join('.') ~ identifiers | join('.') ~ build %}
    {{ return(hint if dbt_cicd_toolkit._semver_parse(hint) is not none else none) }}
{% endmacro %}

{# A text whose bytewise order is SemVer precedence (§11): a number is the count of its digits (three places) and its digits;
   a release ends in '~'; a pre-release goes on with '-' and its identifiers, numeric ones (0…) below the others (1…), each
   ended by ',' which sorts below every character an identifier may hold. Build metadata has no part in it. #}
{% macro _semver_key(parsed) %}
    {% set numbers = [] %}
    {% for number in parsed.core %}
        {% do numbers.append(('000' ~ number | length)[-3:] ~ number) %}
    {% endfor %}
    {% set key = numbers | join('.') %}
    {% if not parsed.pre %}
        {{ return(key ~ '~') }}
    {% endif %}
    {% set identifiers = [] %}
    {% for identifier in parsed.pre %}
        {% if modules.re.match('^[0-9]+$', identifier) %}
            {% do identifiers.append('0' ~ ('000' ~ identifier | length)[-3:] ~ identifier ~ ',') %}
        {% else %}
            {% do identifiers.append('1' ~ identifier ~ ',') %}
        {% endif %}
    {% endfor %}
    {{ return(key ~ '-' ~ identifiers | join('')) }}
{% endmacro %}

{# 'major', 'minor' or 'patch': which number of `new` is the first that differs from `old` (both parsed). #}
{% macro _semver_part(old, new) %}
    {% if old.core[0] != new.core[0] %}
        {{ return('major') }}
    {% elif old.core[1] != new.core[1] %}
        {{ return('minor') }}
    {% endif %}
    {{ return('patch') }}
{% endmacro %}

{# The next release after a parsed version. A pre-release is finished first when that is step enough (2.0.0-rc.1 → 2.0.0). #}
{% macro _semver_bump(parsed, part) %}
    {% set major = parsed.core[0] | int %}
    {% set minor = parsed.core[1] | int %}
    {% set patch = parsed.core[2] | int %}
    {% set pre = parsed.pre | length > 0 %}
    {% if part == 'major' %}
        {{ return((major if pre and minor == 0 and patch == 0 else major + 1) ~ '.0.0') }}
    {% elif part == 'minor' %}
        {{ return(major ~ '.' ~ (minor if pre and patch == 0 else minor + 1) ~ '.0') }}
    {% endif %}
    {{ return(major ~ '.' ~ minor ~ '.' ~ (patch if pre else patch + 1)) }}
{% endmacro %}
