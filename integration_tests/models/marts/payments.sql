select
    cast(payment_id as integer) as payment_id,
    cast(order_id as integer) as order_id,
    cast(payment_method as varchar(20)) as payment_method,
    cast(amount as numeric(12, 2)) as amount,
    cast(paid_on as date) as paid_on
from {{ ref('stg_payments') }}
