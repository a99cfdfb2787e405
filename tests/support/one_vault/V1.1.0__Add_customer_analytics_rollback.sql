-- Rollback: Add customer analytics
-- Version: 1.1.0
-- Created: 2024-01-15T15:45:00

-- =============================================================================
-- ROLLBACK MIGRATION - UNDO ALL CHANGES
-- =============================================================================

-- Drop indexes first
DROP INDEX IF EXISTS business.idx_customer_analytics_s_engagement;
DROP INDEX IF EXISTS business.idx_customer_analytics_h_tenant;

-- Drop tables (satellite first, then hub)
DROP TABLE IF EXISTS business.customer_analytics_s CASCADE;
DROP TABLE IF EXISTS business.customer_analytics_h CASCADE;

-- Log rollback
SELECT util.log_deployment_start(
    'ROLLBACK: Add customer analytics (v1.1.0)',
    'Rolling back customer analytics tables'
);
