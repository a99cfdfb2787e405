select
    id as store_id,
    name as store_name,
    country,
    opened_on,
    cast(tax_basis_points as numeric(8, 4)) / 10000 as tax_rate
from {{ ref('raw_stores') }}
