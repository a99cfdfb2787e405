-- Rollback: @description@
-- Version: @version@
-- Created: @created@

-- =============================================================================
-- ROLLBACK MIGRATION - UNDO ALL CHANGES
-- =============================================================================

-- Undo the changes in reverse order: indexes, foreign keys, tables (satellites before hubs), functions, schemas.
