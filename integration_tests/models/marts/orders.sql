with items as (

    select
        order_items.order_id,
        sum(order_items.quantity) as item_count,
        sum(order_items.quantity * products.price) as order_total
    from {{ ref('stg_order_items') }} as order_items
    inner join {{ ref('stg_products') }} as products
        on order_items.product_id = products.product_id
    group by order_items.order_id

)

select
    orders.order_id,
    orders.customer_id,
    orders.store_id,
    orders.order_date,
    orders.status,
    items.item_count,
    cast(items.order_total as numeric(16, 2)) as order_total,
    cast(coalesce(payments.amount_paid, 0) as numeric(16, 2)) as amount_paid,
    cast(coalesce(payments.gift_card_amount, 0) as numeric(16, 2)) as gift_card_amount
from {{ ref('stg_orders') }} as orders
inner join items
    on orders.order_id = items.order_id
left join {{ ref('int_order_payments') }} as payments
    on orders.order_id = payments.order_id
