select
    customer_id,
    case
        when number_of_orders = 0 then 'prospect'
        when number_of_orders = 1 then 'new'
        when lifetime_value >= 60 then 'loyal'
        else 'returning'
    end as segment_name,
    lifetime_value
from {{ ref('customers') }}
