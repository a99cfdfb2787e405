-- A completed order is paid in full: no cent less, no cent more.
select
    order_id,
    order_total,
    amount_paid
from {{ ref('orders') }}
where status = 'completed'
  and order_total != amount_paid
