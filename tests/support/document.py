"""What the guide that `dbt-cicd db` was made after has always printed, word for word: its commands, their output, its
names and its hook. Nothing of it may be changed to make a test pass."""

from __future__ import annotations

STATUS = r"""🏠 One Vault Database Status
========================================
📍 Current Version: 1\.0\.0
📝 Name: Initial Data Vault 2\.0 Foundation
📅 Deployed: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d

🏗️ Database Structure:
(   📊 \w+: \d+ tables?
)+
📈 Total: \d+ schemas, \d+ tables
"""
START_FEATURE = """# 1. Create feature branch
git checkout -b feature/customer-analytics

# 2. Create database migration
python database/tools/db_version_manager.py create 1.1.0 "Add customer analytics"

# 3. Edit migration files (see examples above)

# 4. Create frontend components
mkdir frontend/src/components/analytics/
# ... develop React components

# 5. Create backend API endpoints
# ... develop Python/FastAPI endpoints
"""
TEST_LOCALLY = """# 1. Test database migration
python database/tools/db_version_manager.py migrate --dry-run
python database/tools/db_version_manager.py migrate
"""
TESTED = """🧪 DRY RUN MODE
   📋 Would execute: V1.1.0__Add_customer_analytics.sql
🚀 Executing: V1.1.0__Add_customer_analytics.sql
   ✅ Completed successfully
"""
COMMIT = """# Commit everything together
git add database/migrations/V1.1.0__Add_customer_analytics.sql
git add database/rollback/V1.1.0__Add_customer_analytics_rollback.sql
git add frontend/src/components/analytics/
git add backend/app/routes/analytics.py
git commit -m "Add customer analytics feature - v1.1.0

- Database: Analytics tables with Data Vault 2.0 compliance
- Frontend: Analytics dashboard with charts
- Backend: Analytics API with tenant isolation
- Tests: Unit and integration tests included
"

git push origin feature/customer-analytics
"""
DEPLOY = """# 2. Merge to develop → Auto-deploy to STAGING
git checkout develop
git merge feature/customer-analytics

# 3. Test in staging environment
# Run full integration tests

# 4. Merge to main → Deploy to PRODUCTION
git checkout main
git merge develop
"""
HOOK = """# .git/hooks/pre-commit
#!/bin/bash
# Check migration syntax before commit
python database/tools/db_version_manager.py migrate --dry-run
"""
CHECK_CONNECTION = """# Check environment variable
echo $DB_PASSWORD

# Test connection manually
psql -h localhost -U postgres -d one_vault
"""
USE_ANOTHER_NUMBER = """# Check existing migrations
ls database/migrations/

# Use different version number
python database/tools/db_version_manager.py create 1.1.1 "Different feature"
"""
VARIABLES = """# Database connection
export DB_PASSWORD=your_database_password

# Optional - override defaults
export DB_HOST=localhost
export DB_PORT=5432
export DB_NAME=one_vault
export DB_USER=postgres
"""
FLYWAY = """flyway.url=jdbc:postgresql://localhost:5432/one_vault
flyway.user=postgres
flyway.locations=filesystem:./database/migrations
"""
GOOD_EXAMPLES = """V1.1.0__Add_User_Preferences.sql        # New feature
V1.1.1__Fix_User_Email_Constraint.sql   # Bug fix
V1.2.0__Enhanced_Reporting_Tables.sql   # New feature
V2.0.0__Major_Schema_Refactor.sql       # Breaking change
V2.0.1__Hotfix_Performance_Issue.sql    # Critical fix
"""
BAD_EXAMPLES = """migration1.sql                        # No version
V1__stuff.sql                        # Vague description
V1.1.0_add_tables.sql                # Underscore instead of double underscore
V1.1.0__add-user-stuff.sql           # Hyphens not underscores
"""
