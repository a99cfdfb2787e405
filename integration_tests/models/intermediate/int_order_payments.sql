select
    order_id,
    sum(amount) as amount_paid,
    sum(case when payment_method = 'gift_card' then amount else 0 end) as gift_card_amount,
    max(paid_on) as last_paid_on
from {{ ref('stg_payments') }}
group by order_id
