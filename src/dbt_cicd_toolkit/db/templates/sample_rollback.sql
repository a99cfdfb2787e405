-- Rollback: Initial Data Vault 2.0 Foundation
-- Version: 1.0.0
-- Created: @created@

-- =============================================================================
-- ROLLBACK MIGRATION - UNDO ALL CHANGES
-- =============================================================================

-- Nothing is dropped by CASCADE: what later migrations built on this has to be rolled back before.

-- Drop indexes first
DROP INDEX IF EXISTS audit.idx_audit_event_h_tenant;
DROP INDEX IF EXISTS business.uq_customer_s_current;
DROP INDEX IF EXISTS auth.uq_tenant_s_current;

-- Drop tables (satellites first, then hubs)
DROP TABLE IF EXISTS audit.audit_event_s;
DROP TABLE IF EXISTS audit.audit_event_h;
DROP TABLE IF EXISTS business.customer_s;
DROP TABLE IF EXISTS business.customer_h;
DROP TABLE IF EXISTS auth.user_h;
DROP TABLE IF EXISTS auth.tenant_s;
DROP TABLE IF EXISTS auth.tenant_h;

-- Drop functions, and the log of deployments, which cannot record this rollback any more
DROP FUNCTION IF EXISTS util.log_deployment_completion(BIGINT, BOOLEAN, TEXT);
DROP FUNCTION IF EXISTS util.log_deployment_start(TEXT, TEXT, TEXT);
DROP TABLE IF EXISTS util.deployment_log;
DROP FUNCTION IF EXISTS util.hash_binary(TEXT);
DROP FUNCTION IF EXISTS util.current_load_date();

-- Drop schemas last
DROP SCHEMA IF EXISTS audit;
DROP SCHEMA IF EXISTS util;
DROP SCHEMA IF EXISTS business;
DROP SCHEMA IF EXISTS auth;
