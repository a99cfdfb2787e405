select
    stores.store_id,
    stores.store_name,
    stores.country,
    count(orders.order_id) as number_of_orders,
    cast(coalesce(sum(orders.order_total), 0) as numeric(16, 2)) as revenue,
    cast(coalesce(sum(orders.order_total * stores.tax_rate), 0) as numeric(16, 2)) as sales_tax
from {{ ref('stg_stores') }} as stores
left join {{ ref('orders') }} as orders
    on stores.store_id = orders.store_id
    and orders.status != 'returned'
group by stores.store_id, stores.store_name, stores.country
