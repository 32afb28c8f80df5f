"""All that is remembered, and all SQL: tables, database, migrations, locks, and one repository a subject.

May import `config`, `crypto`, `events`, `redact`, `states`, `errors`, `clock`. Start reading at `tables.py` (what is
kept), then `grants.py` (the one transaction everything else exists for). Repositories hand out frozen records
(`records.py`), never rows: nobody above this layer sees SQLAlchemy.
"""
