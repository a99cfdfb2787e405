-- Migration: Initial Data Vault 2.0 Foundation
-- Version: 1.0.0
-- Created: @created@
-- Description: Schemas, deployment log, and the hubs and satellites that later migrations build on

-- =============================================================================
-- FORWARD MIGRATION
-- =============================================================================

CREATE SCHEMA auth;
CREATE SCHEMA business;
CREATE SCHEMA util;
CREATE SCHEMA audit;

COMMENT ON SCHEMA auth IS 'Tenants and their users';
COMMENT ON SCHEMA business IS 'What the business is about, as hubs, links and satellites';
COMMENT ON SCHEMA util IS 'Functions and tables that the other schemas use';
COMMENT ON SCHEMA audit IS 'What happened, and who did it';

-- -----------------------------------------------------------------------------
-- util: load dates, hash keys, the log of deployments
-- -----------------------------------------------------------------------------

CREATE FUNCTION util.current_load_date() RETURNS TIMESTAMP WITH TIME ZONE
    LANGUAGE sql STABLE PARALLEL SAFE
    SET search_path = ''
    AS $$ SELECT current_timestamp $$;

COMMENT ON FUNCTION util.current_load_date() IS
    'The load date of this transaction: all that it loads has the same one';

CREATE FUNCTION util.hash_binary(p_input TEXT) RETURNS BYTEA
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path = ''
    AS $$ SELECT sha256(convert_to(p_input, 'UTF8')) $$;

COMMENT ON FUNCTION util.hash_binary(TEXT) IS
    'The hash key of a business key: SHA-256 of its UTF-8 bytes, whatever the encoding of the database';

CREATE TABLE util.deployment_log (
    deployment_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deployment_name TEXT NOT NULL,
    description TEXT,
    rollback_script TEXT,
    status TEXT NOT NULL DEFAULT 'STARTED',
    started_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT clock_timestamp(),
    completed_at TIMESTAMP WITH TIME ZONE,
    error_message TEXT,
    deployed_by TEXT NOT NULL DEFAULT session_user,
    CONSTRAINT deployment_log_status_known CHECK (status IN ('STARTED', 'COMPLETED', 'FAILED'))
);

COMMENT ON TABLE util.deployment_log IS 'What migrations say of themselves; util.log_deployment_start() writes it';
COMMENT ON COLUMN util.deployment_log.rollback_script IS 'Where the rollback is, or its text, when the caller gave one';

CREATE FUNCTION util.log_deployment_start(
    p_deployment_name TEXT,
    p_description TEXT,
    p_rollback_script TEXT DEFAULT NULL
) RETURNS BIGINT
    LANGUAGE sql VOLATILE
    SET search_path = ''
    AS $$
        INSERT INTO util.deployment_log (deployment_name, description, rollback_script)
        VALUES (p_deployment_name, p_description, p_rollback_script)
        RETURNING deployment_id
    $$;

COMMENT ON FUNCTION util.log_deployment_start(TEXT, TEXT, TEXT) IS
    'Enter a deployment into util.deployment_log; returns its deployment_id';

CREATE FUNCTION util.log_deployment_completion(
    p_deployment_id BIGINT,
    p_success BOOLEAN DEFAULT TRUE,
    p_error_message TEXT DEFAULT NULL
) RETURNS VOID
    LANGUAGE plpgsql VOLATILE
    SET search_path = ''
    AS $$
        BEGIN
            UPDATE util.deployment_log
            SET status = CASE WHEN p_success THEN 'COMPLETED' ELSE 'FAILED' END,
                completed_at = clock_timestamp(),
                error_message = p_error_message
            WHERE deployment_id = p_deployment_id;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'util.log_deployment_completion(): there is no deployment %', p_deployment_id
                    USING ERRCODE = 'no_data_found';
            END IF;
        END
    $$;

COMMENT ON FUNCTION util.log_deployment_completion(BIGINT, BOOLEAN, TEXT) IS
    'Enter the end of a deployment that util.log_deployment_start() began';

-- -----------------------------------------------------------------------------
-- auth: tenants, and users of a tenant
-- -----------------------------------------------------------------------------

CREATE TABLE auth.tenant_h (
    tenant_hk BYTEA PRIMARY KEY,
    tenant_bk VARCHAR(255) NOT NULL,
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    record_source VARCHAR(100) NOT NULL,
    CONSTRAINT tenant_h_bk_unique UNIQUE (tenant_bk)
);

CREATE TABLE auth.tenant_s (
    tenant_hk BYTEA NOT NULL REFERENCES auth.tenant_h(tenant_hk),
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    load_end_date TIMESTAMP WITH TIME ZONE,
    hash_diff BYTEA NOT NULL,
    tenant_name VARCHAR(200) NOT NULL,
    is_active BOOLEAN NOT NULL DEFAULT TRUE,
    record_source VARCHAR(100) NOT NULL,
    PRIMARY KEY (tenant_hk, load_date)
);

CREATE TABLE auth.user_h (
    user_hk BYTEA PRIMARY KEY,
    user_bk VARCHAR(255) NOT NULL,
    tenant_hk BYTEA NOT NULL REFERENCES auth.tenant_h(tenant_hk),
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    record_source VARCHAR(100) NOT NULL,
    CONSTRAINT user_h_bk_unique UNIQUE (tenant_hk, user_bk)
);

COMMENT ON TABLE auth.tenant_h IS 'Hub of tenants; every other hub refers to it';
COMMENT ON TABLE auth.tenant_s IS 'Satellite of tenants; the row without load_end_date is the current one';
COMMENT ON TABLE auth.user_h IS 'Hub of users; user_bk is unique within a tenant';

CREATE UNIQUE INDEX uq_tenant_s_current ON auth.tenant_s(tenant_hk) WHERE load_end_date IS NULL;

-- -----------------------------------------------------------------------------
-- business: customers
-- -----------------------------------------------------------------------------

CREATE TABLE business.customer_h (
    customer_hk BYTEA PRIMARY KEY,
    customer_bk VARCHAR(255) NOT NULL,
    tenant_hk BYTEA NOT NULL REFERENCES auth.tenant_h(tenant_hk),
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    record_source VARCHAR(100) NOT NULL,
    CONSTRAINT customer_h_bk_unique UNIQUE (tenant_hk, customer_bk)
);

CREATE TABLE business.customer_s (
    customer_hk BYTEA NOT NULL REFERENCES business.customer_h(customer_hk),
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    load_end_date TIMESTAMP WITH TIME ZONE,
    hash_diff BYTEA NOT NULL,
    customer_name VARCHAR(200) NOT NULL,
    email VARCHAR(320),
    record_source VARCHAR(100) NOT NULL,
    PRIMARY KEY (customer_hk, load_date)
);

COMMENT ON TABLE business.customer_h IS 'Hub of customers; customer_bk is unique within a tenant';
COMMENT ON TABLE business.customer_s IS 'Satellite of customers; the row without load_end_date is the current one';

CREATE UNIQUE INDEX uq_customer_s_current ON business.customer_s(customer_hk) WHERE load_end_date IS NULL;

-- -----------------------------------------------------------------------------
-- audit: events
-- -----------------------------------------------------------------------------

CREATE TABLE audit.audit_event_h (
    audit_event_hk BYTEA PRIMARY KEY,
    audit_event_bk VARCHAR(255) NOT NULL,
    tenant_hk BYTEA NOT NULL REFERENCES auth.tenant_h(tenant_hk),
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    record_source VARCHAR(100) NOT NULL
);

CREATE TABLE audit.audit_event_s (
    audit_event_hk BYTEA NOT NULL REFERENCES audit.audit_event_h(audit_event_hk),
    load_date TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT util.current_load_date(),
    load_end_date TIMESTAMP WITH TIME ZONE,
    hash_diff BYTEA NOT NULL,
    table_name VARCHAR(130) NOT NULL,
    operation VARCHAR(20) NOT NULL,
    changed_by VARCHAR(100) NOT NULL DEFAULT session_user,
    details JSONB,
    record_source VARCHAR(100) NOT NULL,
    PRIMARY KEY (audit_event_hk, load_date)
);

COMMENT ON TABLE audit.audit_event_h IS 'Hub of events that are audited';
COMMENT ON TABLE audit.audit_event_s IS 'Satellite of audited events: where, what, by whom';

CREATE INDEX idx_audit_event_h_tenant ON audit.audit_event_h(tenant_hk);

-- Log deployment
SELECT util.log_deployment_start(
    'Initial Data Vault 2.0 Foundation (v1.0.0)',
    'Schemas, deployment log, and the hubs and satellites that later migrations build on'
);
