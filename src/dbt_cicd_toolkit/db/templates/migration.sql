-- Migration: @description@
-- Version: @version@
-- Created: @created@
-- Description: @description@

-- =============================================================================
-- FORWARD MIGRATION
-- =============================================================================

-- Write the changes here, every name with its schema. The rollback file must undo them all.
