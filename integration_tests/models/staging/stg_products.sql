select
    sku as product_id,
    name as product_name,
    category,
    description,
    {{ cents_to_dollars('price_cents') }} as price
from {{ ref('raw_products') }}
