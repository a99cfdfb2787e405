{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='order_date'
) }}

select
    order_date,
    count(*) as number_of_orders,
    cast(sum(order_total) as numeric(16, 2)) as revenue
from {{ ref('orders') }}
where status != 'returned'
{% if is_incremental() %}
    -- the newest day is built again: orders may have come in since
    and order_date >= (select max(order_date) from {{ this }})
{% endif %}
group by order_date
