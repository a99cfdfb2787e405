select
    customer_id,
    case when number_of_orders > 1 then 'returning' else 'new' end as segment
from {{ ref('customers') }}
