-- Migration: Add customer analytics
-- Version: 1.1.0
-- Created: 2024-01-15T15:45:00
-- Description: Add customer analytics tables

-- =============================================================================
-- FORWARD MIGRATION
-- =============================================================================

-- Create analytics hub table
CREATE TABLE business.customer_analytics_h (
    customer_analytics_hk BYTEA PRIMARY KEY,
    customer_analytics_bk VARCHAR(255) NOT NULL,
    tenant_hk BYTEA NOT NULL REFERENCES auth.tenant_h(tenant_hk),
    load_date TIMESTAMP WITH TIME ZONE DEFAULT util.current_load_date(),
    record_source VARCHAR(100) NOT NULL
);

-- Create analytics satellite table
CREATE TABLE business.customer_analytics_s (
    customer_analytics_hk BYTEA NOT NULL REFERENCES business.customer_analytics_h(customer_analytics_hk),
    load_date TIMESTAMP WITH TIME ZONE DEFAULT util.current_load_date(),
    load_end_date TIMESTAMP WITH TIME ZONE,
    hash_diff BYTEA NOT NULL,
    monthly_revenue DECIMAL(15,2),
    transaction_count INTEGER,
    last_activity_date DATE,
    engagement_score DECIMAL(5,2),
    record_source VARCHAR(100) NOT NULL,
    PRIMARY KEY (customer_analytics_hk, load_date)
);

-- Create indexes for performance
CREATE INDEX idx_customer_analytics_h_tenant ON business.customer_analytics_h(tenant_hk);
CREATE INDEX idx_customer_analytics_s_engagement ON business.customer_analytics_s(engagement_score) WHERE load_end_date IS NULL;

-- Log deployment
SELECT util.log_deployment_start(
    'Add customer analytics (v1.1.0)',
    'Customer analytics tables with tenant isolation and Data Vault 2.0 compliance'
);
